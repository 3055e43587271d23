"""The doctor: checks of a run's data, teacher, student and recipe before it is trained."""

from preceptor.run.doctor.examine import examine, quick_look
from preceptor.run.doctor.finding import Diagnosis, Finding, ProblemsFound, Status

__all__ = ["Diagnosis", "Finding", "ProblemsFound", "Status", "examine", "quick_look"]
