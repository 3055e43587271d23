"""What to try first, in words, with the reason and what it gained in experiments."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from preceptor.audit.examine import TeacherAudit
from preceptor.context import VERDICTS

FEW_ERRORS = 0.05
"""Below this share of wrong teacher outputs a correction has nothing to correct that would show."""

UNSURE = 0.1
"""A teacher is unsure when its mean confidence is this far below its accuracy."""

SYSTEMATIC = 0.3
"""From this share of a side's errors in systematic pairs on, they are what is to be mended."""

Situation = Literal["wrong labels", "few errors", "untold", "systematic errors", "unsure teacher", "errors"]
"""What an audit can find, the most important first."""

GAINS_FILE = "gains.json"
"""What recipe safe gained with an audit, by situation; ``python -m experiments.unreliable.gains`` writes it."""


@dataclass(frozen=True)
class Advice:
    """What to do first.

    Attributes:
        situation: what the audit found.
        recipe: to try first.
        reason: a sentence.
        expected: what the recipe gained in the benchmark's settings of this situation; empty where there is none.
        then: what to do beside it.
    """

    situation: Situation
    recipe: str
    reason: str
    expected: str
    then: str

    def line(self) -> str:
        """All of it in one line."""
        return " ".join(part for part in (f"{self.recipe}: {self.reason}", self.expected, self.then) if part)


def advise(audit: TeacherAudit) -> Advice:
    """What to try first, by the first situation that applies: recipe ``safe``, limited by this audit.

    It came out level with the better of plain distillation and labels alone, or above both, in nearly all of the
    benchmark's settings (docs/when-to-check.md); no other recipe did.
    """
    situation, reason, then = next(_situations(audit))
    always = "Give --audit with this folder. preceptor compare tells how other recipes do on your data."
    return Advice(situation, "safe", reason, expected_gain(situation), f"{then} {always}".strip())


def _situations(audit: TeacherAudit) -> Iterator[tuple[Situation, str, str]]:
    """Those that apply, each with the reason and what else to do."""
    rate, share = audit.verdicts.base_rate, len(audit.verdicts.index) / audit.report.n
    labels_at_least, labels_at_most = audit.label_error
    at_least, at_most = share - labels_at_most, share - labels_at_least
    confidence, accuracy = audit.report.mean_confidence.value or 0.0, audit.report.accuracy.value or 0.0
    wrong_teacher = audit.verdicts.at("likely") == VERDICTS.index("wrong_teacher")
    systematic = float(audit.verdicts.systematic[wrong_teacher].double().mean()) if bool(wrong_teacher.any()) else 0.0
    if rate.low > 0.5:
        yield (
            "wrong labels",
            f"where teacher and label disagree the label is the likelier error (in {rate.low:.0%} of the cases or "
            "more): a correction would write it into the teacher, and with the audit such labels are left out.",
            "",
        )
    if at_most < FEW_ERRORS:
        yield (
            "few errors",
            f"the teacher is wrong on at most {at_most:.1%} of these images: plain distillation serves as well.",
            "If it was trained on them, see preceptor crossfit.",
        )
    if rate.high - rate.low > 0.5:
        yield (
            "untold",
            "it cannot be told whether the labels or the teacher are wrong (of the labels "
            f"{labels_at_least:.1%} to {labels_at_most:.1%}); labels keep their weight beside the teacher.",
            "Give --gold or --teacher-accuracy to know more.",
        )
    if systematic >= SYSTEMATIC:
        yield (
            "systematic errors",
            f"{systematic:.0%} of the teacher's errors take the same few classes for others, which it repairs.",
            "Look at the pairs first: if two outputs are in each other's place, mend the teacher's file.",
        )
    if confidence < accuracy - UNSURE:
        yield (
            "unsure teacher",
            f"the teacher is unsure (mean confidence {confidence:.0%}, right on {accuracy:.0%}), and it calibrates it.",
            "",
        )
    yield (
        "errors",
        f"the teacher is wrong on {at_least:.1%} to {at_most:.1%} of these images, which plain distillation passes on.",
        "",
    )


def expected_gain(situation: Situation) -> str:
    """What recipe safe gained with an audit in the benchmark's settings of a situation, in a sentence."""
    gains = _gains().get(situation)
    if not gains:
        return ""
    settings = "one setting" if gains["settings"] == 1 else f"{gains['settings']} settings"
    to_labels, to_kd = (_range(gains[name]) for name in ("to_labels", "to_kd"))
    return (
        f"In {settings} of this kind it was {to_labels} points from labels alone and {to_kd} points from plain "
        "distillation."
    )


def _range(gains: list[float]) -> str:
    low, high = (f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") for value in (min(gains), max(gains)))
    return low if low == high else f"{low} to {high}"


@cache
def _gains() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("preceptor.audit").joinpath(GAINS_FILE).read_text(encoding="utf-8"))
    assert set(content) <= set(get_args(Situation))
    return content
