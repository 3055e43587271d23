"""Teachers: networks, files and ensembles that return logits."""

from preceptor.teachers.check import TeacherCheck, check_teacher
from preceptor.teachers.network import NetworkTeacher
from preceptor.teachers.selection_data import collect_selection_data

__all__ = ["NetworkTeacher", "TeacherCheck", "check_teacher", "collect_selection_data"]
