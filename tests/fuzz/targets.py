"""What a stranger's bytes are handed to: each target takes bytes, and lets nothing out but the project's own errors.

``tests/fuzz`` drives them by hypothesis, ``experiments/fuzz`` by coverage (atheris). They stand in modules by what they
read, and are all known once this one is imported.
"""

from tests.fuzz import of_data, of_runs, of_settings, of_students, of_teachers
from tests.fuzz.registry import TARGETS, Fuzzed, attempt

__all__ = ["TARGETS", "Fuzzed", "attempt", "of_data", "of_runs", "of_settings", "of_students", "of_teachers"]
