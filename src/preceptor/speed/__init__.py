"""Speed: our loop against one built as the peers build theirs, on the same work in the same run."""

from preceptor.speed.measure import measure
from preceptor.speed.pairs import PAIRS, Case, Pair, find_pair, usual_batches
from preceptor.speed.result import CaseResult, Row, SpeedResult, Spread, load_speed, save_speed
from preceptor.speed.table import made, speed_markdown, speed_tables
from preceptor.speed.targets import TARGETS, Target, Verdict, verdicts
from preceptor.speed.variants import VARIANTS, Variant, find_variants

__all__ = [
    "PAIRS",
    "TARGETS",
    "VARIANTS",
    "Case",
    "CaseResult",
    "Pair",
    "Row",
    "SpeedResult",
    "Spread",
    "Target",
    "Variant",
    "Verdict",
    "find_pair",
    "find_variants",
    "load_speed",
    "made",
    "measure",
    "save_speed",
    "speed_markdown",
    "speed_tables",
    "usual_batches",
    "verdicts",
]
