"""Tables of the unreliable-supervision benchmark; ``python -m experiments.unreliable`` makes its result."""

from experiments.unreliable.table import markdown

__all__ = ["markdown"]
