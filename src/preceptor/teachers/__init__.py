"""Teachers: where the teacher's word comes from."""

from preceptor.teachers.evidence import gather_evidence
from preceptor.teachers.live import LiveTeacher, TeacherCheck, check_teacher

__all__ = ["LiveTeacher", "TeacherCheck", "check_teacher", "gather_evidence"]
