"""Tables of the unreliable-supervision benchmark, for the docs; ``experiments.unreliable`` runs it."""

from typing import Any

from experiments.unreliable.result import BenchmarkResult
from experiments.unreliable.table import decision_table, markdown

__all__ = ["decision", "markdown"]


def decision(content: dict[str, Any]) -> str:
    """What to do, by what a user can find out."""
    return decision_table(BenchmarkResult.model_validate(content))
