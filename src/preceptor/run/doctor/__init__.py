"""The doctor: what is wrong with a run, told before it is run."""

from preceptor.run.doctor.examine import examine, quick_look
from preceptor.run.doctor.finding import Diagnosis, Finding, Status

__all__ = ["Diagnosis", "Finding", "Status", "examine", "quick_look"]
