"""Teachers: where the teacher's word comes from."""

from preceptor.teachers.network import NetworkTeacher, TeacherCheck, check_teacher
from preceptor.teachers.selection_data import collect_selection_data

__all__ = ["NetworkTeacher", "TeacherCheck", "check_teacher", "collect_selection_data"]
