"""Many runs, paired over seeds: studies, their results, and the tables made of them."""

from preceptor.compare.result import (
    ArmRow,
    ExampleImage,
    Measure,
    Recovery,
    StudyResult,
    TeacherRow,
    load_result,
    save_result,
)
from preceptor.compare.run import run_study
from preceptor.compare.study import Arm, Study, TeacherKind, arms_of

__all__ = [
    "Arm",
    "ArmRow",
    "ExampleImage",
    "Measure",
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
