"""Runs a study: teachers made faulty on purpose, students of recipes under each, and the differences over seeds."""

from experiments.studies.engine.result import ArmRow, Recovery, StudyResult, TeacherRow, load_result, save_result
from experiments.studies.engine.run import run_study
from experiments.studies.engine.study import Arm, Study, TeacherKind, arms_of

__all__ = [
    "Arm",
    "ArmRow",
    "Recovery",
    "Study",
    "StudyResult",
    "TeacherKind",
    "TeacherRow",
    "arms_of",
    "load_result",
    "run_study",
    "save_result",
]
