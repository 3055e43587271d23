"""A classifier's predictions, and every confidence score of them by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError, unknown_name
from preceptor.metrics import scores
from preceptor.metrics.checks import check_logits, check_number

Needs = Literal["classes", "reservation", "teacher"]
"""What a score looks at: the logits of the classes alone, the extra output of a head that may abstain, or the teacher's
logits."""


@dataclass(frozen=True)
class Predictions:
    """A classifier's logits of some samples, and the teacher's where these are known.

    Args:
        outputs: logits of the classes, and last the reservation of a classifier that may abstain.
        abstains: whether there is a reservation. Default False.
        teacher: the teacher's logits of the same samples and classes.

    Raises:
        InputError: logits that are no dense tables of real numbers; no class; or numbers of samples or classes that do
            not fit.
    """

    outputs: Float[Tensor, "batch outputs"]
    abstains: bool = False
    teacher: Float[Tensor, "batch classes"] | None = None

    def __post_init__(self) -> None:
        check_logits(self.outputs, "outputs")
        if self.classes < 1:
            raise InputError(
                f"outputs have the shape {list(self.outputs.shape)}; expected a class besides the reservation"
            )
        if self.teacher is not None:
            check_logits(self.teacher, "teacher", like=self.class_logits)

    @property
    def classes(self) -> int:
        """Number of real classes."""
        return self.outputs.shape[1] - self.abstains

    @property
    def class_logits(self) -> Float[Tensor, "batch classes"]:
        """The logits of the real classes."""
        return self.outputs[:, : self.classes]

    @property
    def prediction(self) -> Int[Tensor, " batch"]:
        """The class of the largest logit, the first of equals; to abstain is never predicted."""
        return scores.answered_class(self.class_logits)

    def has(self, what: Needs) -> bool:
        """Whether a score that needs this can be computed."""
        return {"classes": True, "reservation": self.abstains, "teacher": self.teacher is not None}[what]

    def of(self, samples: Bool[Tensor, " batch"]) -> "Predictions":
        """Those of some of the samples; itself where that is all of them."""
        if bool(samples.all()):
            return self
        teacher = None if self.teacher is None else self.teacher[samples]
        return Predictions(self.outputs[samples], self.abstains, teacher)


@dataclass(frozen=True)
class Score:
    """A confidence score, as commands and files call it: from predictions, and its options, one number a sample.

    The options are stated with their defaults, None where there is none.
    """

    name: str
    needs: Needs
    function: Callable[..., Float[Tensor, " batch"]]
    options: Mapping[str, float | None] = field(default_factory=dict)


def _score(
    needs: Needs, pure: Callable[..., Float[Tensor, " batch"]], name: str | None = None, **options: float | None
) -> Score:
    arguments: dict[Needs, Callable[[Predictions], tuple[Tensor | None, ...]]] = {
        "classes": lambda known: (known.class_logits,),
        "reservation": lambda known: (known.outputs,),
        "teacher": lambda known: (known.class_logits, known.teacher),
    }

    def function(predictions: Predictions, **chosen: float) -> Tensor:
        return pure(*arguments[needs](predictions), **chosen)

    return Score(name or pure.__name__, needs, function, options)


SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        _score("classes", scores.softmax_response),
        _score("classes", scores.margin),
        _score("classes", scores.negative_entropy),
        _score("classes", scores.max_logit),
        _score("classes", scores.max_logit_p_norm, p=None),
        _score("classes", scores.energy, temperature=1.0),
        _score("reservation", scores.reservation_confidence, "reservation"),
        _score("teacher", scores.teacher_probability),
        _score("teacher", scores.negative_teacher_kl),
    )
}
"""The built-in scores by name."""

_NEEDED: Mapping[Needs, str] = {
    "reservation": "a student whose head may abstain",
    "teacher": "the teacher's logits of the same samples",
}


def confidence(name: str, predictions: Predictions, **options: float) -> Float[Tensor, " batch"]:
    """One number a sample, higher when surer, in float64.

    Args:
        name: a key of `SCORES`.
        predictions: of the classifier.
        options: of the score, for example ``temperature=2.0`` for "energy"; "max_logit_p_norm" needs its ``p``.

    Raises:
        InputError: an unknown name or option, an option that is missing or out of range, or logits that the score
            needs and that are not known.
    """
    score = find_score(name)
    if not predictions.has(score.needs):
        raise InputError(f"score {name}: needs {_NEEDED[score.needs]}")
    for option in options:
        if option not in score.options:
            raise unknown_name(f"option of score {name}", option, score.options)
    chosen = {**score.options, **options}
    for option, value in chosen.items():
        if value is None:
            raise InputError(f"score {name}: {option} is missing; choose it on validation data, for example {option}=4")
        check_number(f"score {name}: {option}", value, at_least=0, example=4)
    with torch.no_grad():
        return score.function(predictions, **chosen)


def find_score(name: str) -> Score:
    """The score of this name; `InputError` where there is none."""
    if name not in SCORES:
        raise unknown_name("score", name, SCORES)
    return SCORES[name]


def known_scores(predictions: Predictions) -> list[str]:
    """The names of all scores that can be computed from these predictions without further options."""
    return [
        score.name for score in SCORES.values() if predictions.has(score.needs) and None not in score.options.values()
    ]
