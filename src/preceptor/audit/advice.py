"""Which recipe to try first, in words, with the reason."""

from collections.abc import Iterator
from dataclasses import dataclass

from preceptor.audit.examine import TeacherAudit
from preceptor.context import VERDICTS

FEW_ERRORS = 0.05
"""Below this share of wrong teacher outputs a correction has nothing to correct that would show."""

UNSURE = 0.1
"""A teacher is unsure when its mean confidence is this far below its accuracy: at a temperature of 4 its outputs are
nearly flat, beside which corrected ones weigh too much."""

SYSTEMATIC = 0.3
"""From this share of a side's errors in systematic pairs on, they are what is to be mended."""


@dataclass(frozen=True)
class Advice:
    """What to do first.

    Attributes:
        recipe: to try first.
        reason: a sentence.
        then: what to do beside it; may be empty.
    """

    recipe: str
    reason: str
    then: str

    def line(self) -> str:
        """All of it in one line."""
        return f"{self.recipe}: {self.reason}" + (f" {self.then}" if self.then else "")


ALWAYS = "Train none and kd beside it: no recipe is best everywhere, and they cost little."


def advise(audit: TeacherAudit) -> Advice:
    """The recipe to try first: the first rule that applies.

    Where the labels are the likelier error, corrections write them into the teacher; where the teacher is mostly right,
    they change nothing; an unsure teacher is harmed by corrections at a high temperature; exchanged classes are mended
    by moving probability back (docs/audit.md).
    """
    return next(advice for applies, advice in _rules(audit) if applies)


def _rules(audit: TeacherAudit) -> Iterator[tuple[bool, Advice]]:
    rate, share = audit.verdicts.base_rate, len(audit.verdicts.index) / audit.report.n
    labels_at_least, labels_at_most = audit.label_error
    at_least, at_most = share - labels_at_most, share - labels_at_least
    confidence, accuracy = audit.report.mean_confidence.value or 0.0, audit.report.accuracy.value or 0.0
    wrong_teacher = audit.verdicts.at("likely") == VERDICTS.index("wrong_teacher")
    systematic = float(audit.verdicts.systematic[wrong_teacher].double().mean()) if bool(wrong_teacher.any()) else 0.0
    yield (
        rate.low > 0.5,
        Advice(
            "kd",
            f"where teacher and label disagree the label is the likelier error (in {rate.low:.0%} of the cases or "
            "more), and a correction would write it into the teacher.",
            f"To correct the rest, give --recipe ka-ps and --audit with this folder. {ALWAYS}",
        ),
    )
    yield (
        at_most < FEW_ERRORS,
        Advice(
            "kd",
            f"the teacher is wrong on at most {at_most:.1%} of these images: a correction changes little.",
            f"If it was trained on them, see preceptor crossfit. {ALWAYS}",
        ),
    )
    yield (
        rate.high - rate.low > 0.5,
        Advice(
            "cmkd",
            "it cannot be told whether the labels or the teacher are wrong (of the labels "
            f"{labels_at_least:.1%} to {labels_at_most:.1%}), and cmkd corrects neither.",
            f"Give --gold or --teacher-accuracy to know more. {ALWAYS}",
        ),
    )
    yield (
        systematic >= SYSTEMATIC,
        Advice(
            "ka-dtd",
            f"{systematic:.0%} of the teacher's errors take the same few classes for others, which a correction mends.",
            f"Look at the pairs first: if two outputs are in each other's place, mend the teacher's file. {ALWAYS}",
        ),
    )
    yield (
        confidence < accuracy - UNSURE,
        Advice(
            "cmkd",
            f"the teacher is unsure (mean confidence {confidence:.0%}, right on {accuracy:.0%}): corrections at a "
            "temperature of 4 would outweigh everything else it says.",
            ALWAYS,
        ),
    )
    yield (
        True,
        Advice(
            "corrected-cmkd",
            f"the teacher is wrong on {at_least:.1%} to {at_most:.1%} of these images, sure of itself and without one "
            "system.",
            ALWAYS,
        ),
    )
