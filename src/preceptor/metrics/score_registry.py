"""Every confidence score by its name, and what it wants to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError, unknown_name
from preceptor.metrics import scores
from preceptor.metrics.checks import check_logits, class_count, finite_number

Needs = Literal["classes", "reservation", "teacher", "members"]
"""What a score looks at: the logits of the classes alone, the extra output of a head that may abstain, the teacher's
logits, or the logits of an ensemble's members."""


@dataclass(frozen=True)
class Answers:
    """What a classifier said about a batch, and what else is known there.

    Args:
        outputs: its logits: of the classes, and last the reservation of one that may abstain.
        abstains: whether there is a reservation.
        teacher: the teacher's logits, where it was asked.
        members: the logits of each member where the classifier is an ensemble; `outputs` are then the ensemble's.

    Raises:
        InputError: logits that are no dense tensors of real numbers, of two dimensions or, of members, three; no class;
            no member; or numbers of samples or classes that do not fit.
    """

    outputs: Float[Tensor, "batch outputs"]
    abstains: bool = False
    teacher: Float[Tensor, "batch classes"] | None = None
    members: Float[Tensor, "members batch classes"] | None = None

    def __post_init__(self) -> None:
        class_count(self.outputs, self.abstains)
        if self.teacher is not None:
            check_logits("teacher", self.teacher)
        if self.members is not None:
            _check_members(self.members)
        expected = list(self.class_logits.shape)
        for name, shape in (("teacher", _shape(self.teacher)), ("members", _shape(self.members)[1:])):
            if getattr(self, name) is not None and shape != expected:
                raise InputError(f"{name} {shape} beside {expected}: give logits of the same samples and classes")

    @classmethod
    def of_members(cls, members: Float[Tensor, "members batch classes"]) -> "Answers":
        """An ensemble's, which answers by the mean of its members' probabilities.

        Raises:
            InputError: as for `Answers`.
        """
        _check_members(members)
        return cls(members.double().log_softmax(dim=2).logsumexp(dim=0), members=members)

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
        """The class of the largest logit, the first of equals; to decline is never predicted."""
        return scores.answered_class(self.class_logits)

    def knows(self, what: Needs) -> bool:
        """Whether a score that needs this can be computed."""
        known = {"classes": True, "reservation": self.abstains}
        return known[what] if what in known else getattr(self, what) is not None

    def of(self, samples: Bool[Tensor, " batch"]) -> "Answers":
        """What was said about some of the samples; itself where that is all of them."""
        if bool(samples.all()):
            return self
        teacher = None if self.teacher is None else self.teacher[samples]
        members = None if self.members is None else self.members[:, samples]
        return Answers(self.outputs[samples], self.abstains, teacher, members)


@dataclass(frozen=True)
class Score:
    """A confidence score.

    Attributes:
        name: as commands and files call it.
        needs: what it looks at.
        function: from answers, and its options, to one number a sample.
        options: what it may be given, each with its default; None where there is no default.
        summary: the first line of what its function says of itself.
    """

    name: str
    needs: Needs
    function: Callable[..., Float[Tensor, " batch"]]
    summary: str
    options: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name as a reader sees it."""
        return self.name.replace("_", " ")


Pure = Callable[..., Float[Tensor, " batch"]]


def _arguments(needs: Needs, answers: Answers) -> tuple[Tensor | None, ...]:
    return {
        "classes": (answers.class_logits,),
        "reservation": (answers.outputs,),
        "teacher": (answers.class_logits, answers.teacher),
        "members": (answers.members,),
    }[needs]


def _score(needs: Needs, pure: Pure, name: str | None = None, **options: float | None) -> Score:
    def function(answers: Answers, **given: float) -> Tensor:
        return pure(*_arguments(needs, answers), **given)

    return Score(name or pure.__name__, needs, function, (pure.__doc__ or "").splitlines()[0], options)


def _vote_share(answers: Answers) -> Tensor:
    assert answers.members is not None
    return scores.vote_share(answers.members, answers.class_logits)


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
        _score("members", scores.mean_softmax_response),
        _score("members", scores.negative_predictive_entropy),
        _score("members", scores.negative_mutual_information),
        Score("vote_share", "members", _vote_share, (scores.vote_share.__doc__ or "").splitlines()[0]),
    )
}
"""The built-in scores by name."""

REMEDIES: Mapping[Needs, str] = {
    "reservation": "a student whose head may abstain",
    "teacher": "the teacher's logits of the same samples",
    "members": "the logits of an ensemble's members",
}


def confidence(name: str, answers: Answers, **options: float) -> Float[Tensor, " batch"]:
    """One number a sample, higher when surer, in float64.

    Args:
        name: a key of `SCORES`.
        answers: what the classifier said.
        options: of the score, for example ``temperature=2.0`` for "energy"; "max_logit_p_norm" wants its ``p``.

    Raises:
        InputError: an unknown name or option, an option that is missing or out of range, or something that the score
            needs and that is not known.
    """
    score = find_score(name)
    if not answers.knows(score.needs):
        raise InputError(f"score {name}: needs {REMEDIES[score.needs]}")
    for option in options:
        if option not in score.options:
            raise unknown_name(f"option of score {name}", option, score.options)
    chosen = {**score.options, **options}
    missing = [option for option, value in chosen.items() if value is None]
    if missing:
        raise InputError(f"score {name}: give its {missing[0]}, chosen on validation data")
    for option, value in chosen.items():
        if not finite_number(value):
            raise InputError(f"score {name}: {option} = {value!r}: give a finite number, for example 4")
    with torch.no_grad():
        return score.function(answers, **chosen)


def find_score(name: str) -> Score:
    """The score of this name.

    Raises:
        InputError: there is none.
    """
    if name not in SCORES:
        raise unknown_name("score", name, SCORES)
    return SCORES[name]


def known_scores(answers: Answers) -> list[str]:
    """The names of all scores that can be computed from these answers without further options."""
    return [
        score.name for score in SCORES.values() if answers.knows(score.needs) and None not in score.options.values()
    ]


def _check_members(members: Tensor) -> None:
    check_logits("members", members, dims=3)
    if len(members) == 0:
        raise InputError(f"members of shape {list(members.shape)}: give the logits of at least one member")


def _shape(logits: Tensor | None) -> list[int]:
    return [] if logits is None else list(logits.shape)
