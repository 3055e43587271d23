"""Studies: many runs at once, paired over seeds, and the result files they leave."""

from preceptor.studies.named import STUDIES, find_study
from preceptor.studies.result import (
    ArmRow,
    ExampleImage,
    Measure,
    Repair,
    StudyResult,
    TeacherRow,
    load_result,
    save_result,
)
from preceptor.studies.run import run_study
from preceptor.studies.study import Arm, Study, TeacherKind, arms_of

__all__ = [
    "STUDIES",
    "Arm",
    "ArmRow",
    "ExampleImage",
    "Measure",
    "Repair",
    "Study",
    "StudyResult",
    "TeacherKind",
    "TeacherRow",
    "arms_of",
    "find_study",
    "load_result",
    "run_study",
    "save_result",
]
