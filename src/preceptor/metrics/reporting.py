"""Makes the report of a classifier on one set: every metric, with its interval over the same draws of the samples."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from preceptor.chunking import chosen_rows
from preceptor.context import UNLABELED
from preceptor.errors import InputError
from preceptor.metrics.accuracy import brier_score, negative_log_likelihood
from preceptor.metrics.agreement import divergence_from_teacher, same_answer
from preceptor.metrics.checks import check_finite, checked_outputs
from preceptor.metrics.logit_norm import choose_p_norm
from preceptor.metrics.parts import Classes, Groups, Members, PartSection, confusions
from preceptor.metrics.ranking import in_order
from preceptor.metrics.report import AgreementReport, FullReport
from preceptor.metrics.score_registry import Answers, confidence, known_scores
from preceptor.metrics.scores import softmax_response
from preceptor.metrics.sections import (
    CalibrationSection,
    ScaledSection,
    Section,
    SelectiveSection,
    agreement_section,
    basic_section,
    measure,
)
from preceptor.metrics.temperature import fit_temperature

HeldOut = tuple[Answers, Int[Tensor, " n"]]
"""Samples, with their labels, that choices are made on."""

SHOWN = 50
"""How many positions each list of samples holds."""


def full_report(
    answers: Answers,
    labels: Int[Tensor, " n"],
    *,
    main_score: str = "softmax_response",
    scores: Mapping[str, Mapping[str, float]] | None = None,
    held_out: HeldOut | None = None,
    class_names: Sequence[str] | None = None,
    groups: Mapping[str, Bool[Tensor, " n"]] | None = None,
    resamples: int = 1000,
    interval: float = 0.95,
    seed: int = 0,
) -> FullReport:
    """Measure everything.

    Args:
        answers: what the classifier said, and its teacher or members where these are known. On the CPU.
        labels: class numbers; samples labeled -1 are left out.
        main_score: by which parts are ranked and samples listed. Default "softmax_response".
        scores: by name, with options; the main one is added. None is every score that needs no options, and the
            p-norm that the held-out samples choose.
        held_out: samples of neither the training set nor this one, to fit the temperature and choose the p on.
        class_names: default the class numbers.
        groups: which samples belong to each; they may overlap.
        resamples: of the samples, behind each interval. Default 1000. Time grows with them, the samples and the scores.
        interval: the confidence of the intervals. Default 0.95.
        seed: of the draws.

    Raises:
        InputError: answers, labels, names, groups or held-out samples that do not fit, a logit that is not finite or
            beyond 1e30, of the teacher or a member as well, an unknown score, or no labeled sample.
    """
    _check_answers(answers)
    labels = checked_outputs(answers.outputs, labels, answers.abstains)
    for whose, logits in (("the teacher's", answers.teacher), ("a member's", answers.members)):
        if logits is not None:
            check_finite(logits, whose)
    if held_out is not None:
        held_out = _checked_held_out(held_out, answers.classes)
    labeled = labels != UNLABELED
    known, truth = answers.of(labeled), labels[labeled]
    wrong = known.prediction != truth
    options = _chosen_scores(known, main_score, scores, held_out)
    ranked = {name: confidence(name, known, **given) for name, given in options.items()}
    member = {name: own[labeled] for name, own in _checked(groups or {}, len(labels)).items()}

    sections = _sections(known, truth, held_out)
    sections |= _score_sections(ranked, options, wrong)
    sections |= _part_sections(known, truth, ranked[main_score], _names(known, class_names), member)
    surest = ranked[main_score].sort(descending=True, stable=True).indices
    positions = labeled.nonzero().squeeze(1)
    written = measure(sections, len(truth), resamples, interval, seed)
    return FullReport(
        n=len(truth),
        unlabeled=len(labels) - len(truth),
        classes=known.classes,
        confidence=interval,
        resamples=resamples,
        **{"top5_accuracy": None, **written["basic"]},
        calibration=written["calibration"],
        scaled=written.get("scaled"),
        main_score=main_score,
        selective=[written[_of_score(name)] for name in options],
        agreement=AgreementReport(**written["agreement"]) if "agreement" in written else None,
        per_class=written["per_class"],
        groups=written.get("groups", []),
        confusions=confusions(truth, known.prediction, known.classes),
        confidently_wrong=positions[surest[wrong[surest]][:SHOWN]].tolist(),
        least_sure=positions[surest.flip(0)[:SHOWN]].tolist(),
    )


def _check_answers(answers: object) -> None:
    if not isinstance(answers, Answers):
        raise InputError(f"answers are of type {type(answers).__name__}: give Answers(logits)")


def _checked_held_out(held_out: HeldOut, classes: int) -> HeldOut:
    others, labels = held_out
    _check_answers(others)
    if others.classes != classes:
        raise InputError(f"held-out logits of {others.classes} classes beside {classes}: give the same classifier's")
    return others, checked_outputs(others.outputs, labels, others.abstains)


def _chosen_scores(
    known: Answers, main: str, scores: Mapping[str, Mapping[str, float]] | None, held_out: HeldOut | None
) -> dict[str, Mapping[str, float]]:
    if scores is not None:
        return {main: {}, **scores}
    chosen: dict[str, Mapping[str, float]] = {name: {} for name in (main, *known_scores(known))}
    if held_out is not None:
        others, labels = held_out
        judged = labels != UNLABELED
        choice = choose_p_norm(chosen_rows(others.class_logits, judged), (others.prediction != labels)[judged])
        chosen[choice.score] = choice.options
    return chosen


def _sections(known: Answers, truth: Tensor, held_out: HeldOut | None) -> dict[str, Section]:
    logits = known.class_logits
    sections: dict[str, Section] = {
        "basic": basic_section(logits, truth),
        "calibration": CalibrationSection(logits, truth),
    }
    if known.teacher is not None:
        sections["agreement"] = agreement_section(logits, known.teacher, truth)
    if held_out is not None:
        fit = fit_temperature(held_out[0].class_logits, held_out[1])
        sections["scaled"] = ScaledSection(fit, logits, truth)
    return sections


def _score_sections(
    ranked: Mapping[str, Tensor], options: Mapping[str, Mapping[str, float]], wrong: Tensor
) -> dict[str, Section]:
    return {
        _of_score(name): SelectiveSection(name, options[name], in_order(own, wrong)) for name, own in ranked.items()
    }


def _of_score(name: str) -> str:
    return f"selective/{name}"


def _part_sections(
    known: Answers, truth: Tensor, main: Tensor, names: Sequence[str], groups: Mapping[str, Tensor]
) -> dict[str, Section]:
    logits, right = known.class_logits, known.prediction == truth
    values = {
        "mean_confidence": softmax_response(logits),
        "nll": negative_log_likelihood(logits, truth),
        "brier": brier_score(logits, truth),
    }
    if known.teacher is not None:
        values["same_answer"] = same_answer(logits, known.teacher)
        values["divergence"] = divergence_from_teacher(logits, known.teacher)
    parts: dict[str, tuple[Sequence[str], Members]] = {"per_class": (names, Classes(truth, known.classes))}
    if groups:
        parts["groups"] = (list(groups), Groups(torch.stack(list(groups.values()), dim=1)))
    return {name: PartSection(titles, members, right, main, values) for name, (titles, members) in parts.items()}


def _names(known: Answers, given: Sequence[str] | None) -> Sequence[str]:
    if given is None:
        return [str(number) for number in range(known.classes)]
    if len(given) != known.classes:
        raise InputError(f"{len(given)} class names for {known.classes} classes: give one for each")
    return given


def _checked(groups: Mapping[str, Tensor], n: int) -> Mapping[str, Tensor]:
    for name, member in groups.items():
        if not isinstance(member, Tensor):
            raise InputError(f"group {name!r}: of type {type(member).__name__}: give a tensor of {n} booleans")
        if member.shape != (n,) or member.dtype != torch.bool:
            raise InputError(
                f"group {name!r}: {list(member.shape)} of {member.dtype}: give one boolean for each of {n} samples"
            )
    return groups
