"""Numbers and names as text."""

import math
from collections.abc import Sequence

from preceptor.metrics import PairedDifference

MINUS = "\N{MINUS SIGN}"
PER_CENT = "\N{NO-BREAK SPACE}%"


def percent(share: float, digits: int = 2) -> str:
    """A share as per cent: 0.9432 as "94.32 %". Here and below the space is one that does not break."""
    return f"{100 * share:.{digits}f}{PER_CENT}"


def probability(share: float) -> str:
    """A probability as per cent to one place, without rounding the almost certain to certain; a dash for NaN."""
    if math.isnan(share):
        return "–"
    if share in (0, 1):
        return f"{100 * share:.0f}{PER_CENT}"
    if share < 0.0005:
        return f"<0.1{PER_CENT}"
    if share > 0.9995:
        return f">99.9{PER_CENT}"
    return percent(share, 1)


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign: -0.0123 as "−1.23"."""
    rounded = round(100 * difference, 2) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{rounded:+.2f}".replace("-", MINUS)


def interval(difference: PairedDifference) -> str:
    """The confidence interval in points, as "95 % interval +1.20 to +3.40"; empty with one seed."""
    if difference.low is None or difference.high is None:
        return ""
    low, high = points(difference.low), points(difference.high)
    return f"{100 * difference.confidence:g}{PER_CENT} interval {low} to {high}"


def unbroken(text: str) -> str:
    """Text in which "95 % interval" and "accuracy, %" stay on one line."""
    return text.replace(" % interval", f"{PER_CENT}\N{NO-BREAK SPACE}interval").replace(" %", PER_CENT)


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
