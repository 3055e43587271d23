"""Fitting of a recipe's components before training; the scores of its selection may come from a score file."""

from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor import __version__
from preceptor.context import UNLABELED
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.models import load_checkpoints
from preceptor.recipes import build_recipe_parts
from preceptor.registry import find_component, options, registered_name
from preceptor.run.config import RunConfig
from preceptor.run.members import load_network
from preceptor.run.scores import ScoreOrigin, Scores, load_scores
from preceptor.run.set_up import RunContext, data_fingerprint, set_up
from preceptor.run.teachers import LoadedTeacher
from preceptor.selections import RankedSelection
from preceptor.teachers import NetworkTeacher, collect_selection_data
from preceptor.training.device import choose_device, deterministic


def resolve_selection(config: RunConfig, context: RunContext) -> Scores | None:
    """Fit the loss: a selection by score, from the score file where there is one, then whatever else is to be fitted.

    Returns:
        The scores of the selection; None if there is none by score.

    Raises:
        InputError: a score file without a selection to use it, one of other data or that lacks a sample, no held-out
            samples where the estimator wants them, a teacher that is no network or does not end in a linear layer where
            it wants to look inside.
    """
    loss = context.loss
    by_score = loss.selection if isinstance(loss.selection, RankedSelection) else None
    if config.scores is not None and by_score is None:
        raise InputError(f"scores = {config.scores}: recipe has no selection by score to use them (see ds, lr-ds)")
    if not loss.needs_fit:
        return None
    if context.teacher is None:
        name = registered_name(loss.unfitted[0])
        raise InputError(
            f"{name} is fitted on the teacher's outputs, but no term uses the teacher: add a loss, or drop {name}"
        )
    scores = None
    if by_score is not None:
        reused = config.scores
        scores = _fitted(config, by_score, context) if reused is None else _reused(reused, by_score, context)
    if loss.needs_fit:
        _fit_others(config, context)
    return scores


def _fit_others(config: RunConfig, context: RunContext) -> None:
    """Fit all but a selection by score. A third party's component that states no needs gets all there is."""
    teacher, unfitted = _teacher(context), context.loss.unfitted
    needs_held_out = any(getattr(one, "needs_held_out", True) for one in unfitted)
    for one in unfitted:
        if getattr(one, "needs_features", False) and teacher.network is None:
            raise InputError(
                f"{registered_name(one)} looks inside the teacher, and this one is no single network ({teacher.kind}): "
                "give a run folder as --teacher"
            )
    context.loss.fit(
        collect_selection_data(
            teacher.network or teacher.teacher,
            context.train,
            context.index,
            context.held_out if needs_held_out else context.held_out[:0],
            seed=config.seed,
            features=teacher.network is not None and any(getattr(one, "needs_features", True) for one in unfitted),
            view=context.augmentation.identity,
        )
    )


def score_samples(config: RunConfig) -> Scores:
    """Score the training samples of a configuration whose recipe selects by score; nothing is trained.

    Raises:
        InputError: anything wrong with the configuration, the data or the teacher; a recipe that does not select by
            score.
    """
    with deterministic():
        loss = DistillationLoss(**build_recipe_parts(config.recipe))
        if not isinstance(loss.selection, RankedSelection):
            name = config.recipe.selection.name if config.recipe.selection else "none"
            raise InputError(f"selection {name!r} does not score samples before training: it needs no score file")
        with closing(set_up(config, choose_device(config.device))) as context:
            scores = resolve_selection(config, context)
    assert scores is not None, "a selection by score was just built"
    return scores


def _fitted(config: RunConfig, select: RankedSelection, context: RunContext) -> Scores:
    teacher = _teacher(context)
    if select.needs_features and teacher.network is None:
        raise InputError(
            f"select {registered_name(select)!r} looks inside the teacher, and this one is no single network ("
            f"{teacher.kind}): give a run folder as --teacher, or select by el2n, teacher_loss, correctness or random"
        )
    history = _history(config, context, select)
    selection_data = collect_selection_data(
        teacher.network or teacher.teacher,
        context.train,
        context.index,
        context.held_out if select.needs_held_out else context.held_out[:0],
        seed=config.seed,
        features=select.needs_features,
        history=history,
        view=context.augmentation.identity,
    )
    held_out = selection_data.held_out_label
    if select.needs_held_out and held_out is None:
        raise InputError(
            f"select {registered_name(select)!r} weighs samples by what they do to held-out ones, but nothing is held "
            "out: give validation=0.1 or more"
        )
    select.fit(selection_data)
    origin = ScoreOrigin(
        component=registered_name(select),
        options=_options(select),
        data=config.data,
        data_fingerprint=data_fingerprint(context.dataset),
        teacher_fingerprint=teacher.fingerprint,
        size=len(context.train),
        held_out=0 if held_out is None else int((held_out != UNLABELED).sum()),
        checkpoints=len(selection_data.checkpoints),
        seed=config.seed,
        preceptor=__version__,
    )
    return _scores(select, context.index, origin)


def _reused(path: Path, select: RankedSelection, context: RunContext) -> Scores:
    scores = load_scores(path)
    if scores.origin.component != registered_name(select):
        raise InputError(
            f"{path}: scores of selection {scores.origin.component!r}, the recipe asks for "
            f"{registered_name(select)!r}: "
            f"give recipe.selection.name={scores.origin.component}, or other scores"
        )
    if scores.origin.data_fingerprint != data_fingerprint(context.dataset):
        raise InputError(
            f"{path}: scores of other training data ({scores.origin.data}): its indices mean other samples here; "
            "write new scores with preceptor select"
        )
    if scores.origin.teacher_fingerprint != _teacher(context).fingerprint:
        raise InputError(f"{path}: scores made with another teacher: write new scores with preceptor select")
    _check_options(path, scores.origin, select)
    index = context.index.sort().values
    known = torch.isin(index, scores.index)
    if not known.all():
        raise InputError(
            f"{path}: has no score for {int((~known).sum())} of the {len(index):,} samples trained on, the first "
            f"at index {int(index[~known][0])}: use the split the scores were made with (split_seed, validation)"
        )
    wanted = torch.isin(scores.index, index)
    select.set_scores(scores.index[wanted], scores.score[wanted], len(context.train))
    return _scores(select, index, scores.origin.model_copy(update={"options": _options(select)}))


def _options(select: RankedSelection) -> dict[str, Any]:
    return {name: getattr(select, name) for name in options(find_component("selection", registered_name(select)))}


def _check_options(path: Path, origin: ScoreOrigin, select: RankedSelection) -> None:
    """What is kept of ready scores may differ; what made them may not."""
    for name, value in _options(select).items():
        if name not in ("keep", "ascending") and origin.options.get(name) != value:
            raise InputError(
                f"{path}: scores made with {name} = {origin.options.get(name)}, the recipe says {value}: "
                "write new scores with preceptor select, or leave that option as it was"
            )


def _scores(select: RankedSelection, index: Tensor, origin: ScoreOrigin) -> Scores:
    index = index.sort().values
    return Scores(index, select.scores.cpu()[index].float(), select.weight.cpu()[index] > 0, origin)


def _history(config: RunConfig, context: RunContext, select: RankedSelection) -> list[tuple[float, NetworkTeacher]]:
    """The teacher's checkpoints, oldest first, for an estimator that looks at more than its end."""
    if not select.needs_checkpoints:
        return []
    if not config.teachers:
        raise InputError(
            f"select {registered_name(select)!r} sums over the teacher's training, and a network from Python has no "
            "checkpoints of it: give the folder of a run with keep_checkpoints=5 as teacher"
        )
    folder = config.teachers[0]
    kept = load_checkpoints(folder)
    if not kept:
        raise InputError(
            f"select {registered_name(select)!r} sums over the teacher's training, but {folder} keeps no checkpoints: "
            "train it with --keep-checkpoints 5"
        )
    device = context.train.images.device
    loaded = [(rate, load_network(path, context.dataset, device)) for rate, path in kept]
    if loaded[-1][1][1] != _teacher(context).fingerprint:
        raise InputError(f"{kept[-1][1]}: is not the teacher as it is now: train the teacher again")
    return [(rate, teacher) for rate, (teacher, _) in loaded]


def _teacher(context: RunContext) -> LoadedTeacher:
    assert context.teacher is not None, "a selection uses the teacher"
    return context.teacher
