"""Numbers and names as text."""

from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"
PER_CENT = "\N{NO-BREAK SPACE}%"


def percent(share: float, digits: int = 2) -> str:
    """A share as per cent: 0.9432 as "94.32 %". Here and below the space is one that does not break."""
    return f"{100 * share:.{digits}f}{PER_CENT}"


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign: -0.0123 as "−1.23"."""
    rounded = round(100 * difference, 2) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{rounded:+.2f}".replace("-", MINUS)


def listed(names: Sequence[str]) -> str:
    """Names with commas and a last "and"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(count: int, noun: str) -> str:
    """A count and its noun: "1 seed", "3 seeds"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds below two minutes, minutes below two hours, else hours."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
