"""Studies: many runs at once, paired over seeds, and the result files they leave."""

from preceptor.studies.faulty_teacher import FaultyTeacher, run_faulty_teacher
from preceptor.studies.named import STUDIES, find_study
from preceptor.studies.result import Exhibit, RecipeRow, StudyResult, TeacherRow, load_result, save_result

__all__ = [
    "STUDIES",
    "Exhibit",
    "FaultyTeacher",
    "RecipeRow",
    "StudyResult",
    "TeacherRow",
    "find_study",
    "load_result",
    "run_faulty_teacher",
    "save_result",
]
