"""Where a step ceased to be finite first: what is said of it, and what may help."""

from dataclasses import dataclass
from typing import Literal

Stage = Literal[
    "weights",
    "teacher",
    "student",
    "temperature",
    "correction",
    "selection",
    "term",
    "total",
    "gradient",
    "update",
    "unknown",
]
"""The places in a step where something can cease to be finite, in the order in which they are looked at."""

LARGE = 1e4
"""Every component is finite for logits up to here; larger ones are a training that has diverged."""

SAMPLES_TOLD = 5
"""How many samples a line names."""


@dataclass(frozen=True)
class Sample:
    """A sample of the batch.

    Attributes:
        position: in the training set.
        label: as given; -1 is unlabeled.
        view: the number of the view it was shown in.
    """

    position: int
    label: int
    view: int


@dataclass(frozen=True)
class FaultLocation:
    """Where a step ceased to be finite first.

    Attributes:
        component: "weights" were not finite before the step; "teacher" and "student" are their logits; "term" is a loss;
            "gradient" one of a loss that is finite; "update" weights after a step of finite gradients; "total" the sum
            of the losses, or their sum over the epoch; "unknown" when a look at every component finds nothing.
        at: the component's or term's registered name, the layer or the parameter; None where there is no one name.
        value: what stands there.
        terms: the loss terms that are not finite, or whose gradient is not.
        samples: those that are affected there; none where it cannot be told sample by sample.
        batch: how many samples the batch has.
        student_largest: absolute value of the student's largest finite logit; None when none is.
        teacher_largest: of the teacher's; None without one as well.
        learning_rate: of the step.
        advice: what may help.
    """

    component: Stage
    at: str | None
    value: Literal["nan", "inf"] | None
    terms: tuple[str, ...]
    samples: tuple[Sample, ...]
    batch: int
    student_largest: float | None
    teacher_largest: float | None
    learning_rate: float
    advice: str

    @property
    def place(self) -> str:
        """The component in words: what is not finite, before anything else is."""
        return _PLACES[self.component].format(at=self.at, value=self.value) + ("" if self.at is None else self._at())

    @property
    def sizes(self) -> str:
        """The largest logits, in words."""
        sizes = {"student": self.student_largest, "teacher": self.teacher_largest}
        return ", ".join(f"{who} {size:.4g}" for who, size in sizes.items() if size is not None)

    def line(self) -> str:
        """All of it in one line."""
        parts = (self.place, self._samples(), self._terms(), self._logits(), self.advice)
        return "; ".join(part for part in parts if part)

    def _at(self) -> str:
        return _AT.get(self.component, "").format(at=self.at)

    def _samples(self) -> str:
        if not self.samples:
            return ""
        told = [f"position {one.position} (label {one.label})" for one in self.samples[:SAMPLES_TOLD]]
        more = " and others" if len(self.samples) > SAMPLES_TOLD else ""
        return f"{len(self.samples)} of {self.batch} samples, {', '.join(told)}{more}"

    def _terms(self) -> str:
        return f"in loss term {', '.join(map(repr, self.terms))}" if self.terms and self.component == "gradient" else ""

    def _logits(self) -> str:
        return f"largest logits: {self.sizes}" if self.sizes else ""


_PLACES: dict[Stage, str] = {
    "weights": "the weights are not finite before the step",
    "teacher": "the teacher's logits are {value}",
    "student": "the student's logits are {value}",
    "temperature": "the teacher's word at the chain's temperature is {value}",
    "correction": "the corrected word of the teacher is {value}",
    "selection": "the selection's weights are {value}",
    "term": "loss term {at!r} is {value}",
    "total": "the sum of the losses is {value}",
    "gradient": "the losses are finite, the gradient is {value}",
    "update": "losses and gradients are finite, the weights after the step are not",
    "unknown": "every component is finite when looked at one by one",
}

_AT: dict[Stage, str] = {
    "weights": ", in {at}",
    "student": ", first after layer {at}",
    "temperature": " ({at})",
    "correction": " ({at})",
    "selection": " ({at})",
    "gradient": ", at {at}",
    "update": ", in {at}",
}


def advice(component: Stage, rate: float, largest: float | None, precision: Literal["fp32", "bf16"]) -> str:
    """What may help.

    Args:
        component: where it ceased to be finite.
        rate: learning rate of the step.
        largest: the student's largest finite logit; None when none is finite.
        precision: of the student.
    """
    lower = f"lower the learning rate (now {rate:g})"
    if component in ("term", "total", "gradient"):
        wild = largest is None or largest > LARGE
        return f"training has diverged: {lower}" if wild else _ORDINARY[component].format(lower=lower)
    if component == "student" and precision == "bf16":
        return f"{lower}, or try precision=fp32"
    return _ADVICE[component].format(lower=lower)


_ADVICE: dict[Stage, str] = {
    "weights": "start from weights that are finite",
    "teacher": "mend the teacher or its file, leave these samples out, or train on without such steps: "
    "on_nonfinite=skip",
    "student": "{lower}",
    "temperature": "give the recipe's temperature component a temperature above 0 and finite",
    "correction": "choose another correction or setting: its log-probabilities must be finite",
    "selection": "choose another selection or setting: its weights must be finite",
    "update": "{lower}",
    "unknown": "try compile=never: the student as it is run may differ from the student as it is written",
}

_ORDINARY = {
    "term": "the logits are of ordinary size, so the loss itself or its weight is at fault: choose another, or {lower}",
    "total": "{lower}, or the weights of the terms",
    "gradient": "the logits are of ordinary size, so a derivative is at fault (a root or a logarithm at 0?): mend it, "
    "or train on without such steps: on_nonfinite=skip",
}
