"""Teachers: sources of logits and features for distillation."""

from preceptor.teachers.network import NetworkTeacher, TeacherCheck, check_teacher
from preceptor.teachers.selection_data import collect_selection_data

__all__ = ["NetworkTeacher", "TeacherCheck", "check_teacher", "collect_selection_data"]
