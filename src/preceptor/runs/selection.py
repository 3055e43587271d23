"""Settles which samples the teacher teaches: scores made once before training, or taken from a score file."""

from contextlib import closing
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from preceptor import __version__
from preceptor.catalogue import find_stage, options
from preceptor.chain import Chain
from preceptor.data import Dataset
from preceptor.errors import InputError
from preceptor.lesson import UNLABELLED
from preceptor.models import load_checkpoints
from preceptor.recipes import build_chain_parts
from preceptor.runs.config import RunConfig
from preceptor.runs.folder import fingerprint
from preceptor.runs.material import Material, prepare
from preceptor.runs.members import load_network
from preceptor.runs.scores import ScoreOrigin, Scores, load_scores
from preceptor.runs.signals import Teacher
from preceptor.select import RankedSelection
from preceptor.stage import registered_name
from preceptor.teachers import LiveTeacher, gather_evidence
from preceptor.training.device import choose_device, deterministic


def settle_selection(config: RunConfig, material: Material) -> Scores | None:
    """Fit the chain's selection, from the score file of the configuration where one is given.

    Returns:
        the scores, to be stored with the run; None when the chain has nothing to fit.

    Raises:
        InputError: a score file without a selection to use it, one of other data or that lacks a sample, no held-out
            samples where the estimator wants them, a teacher that is no network or does not end in a linear layer where
        it wants to look inside.
    """
    chain = material.chain
    if not chain.needs_fit:
        if config.scores is not None:
            raise InputError(f"scores = {config.scores}: recipe has no selection by score to use them (see ds, lr-ds)")
        return None
    if material.teacher is None:
        raise InputError(
            "the recipe selects samples for the teacher, but no term listens to it: add a match, or drop select"
        )
    if not isinstance(chain.select, RankedSelection):  # a third party's own kind of fitted selection
        if config.scores is not None:
            raise InputError(f"scores = {config.scores}: the recipe's selection is not one by score")
        network = material.teacher.network
        chain.fit(
            gather_evidence(
                network or material.teacher.signal,
                material.train,
                material.positions,
                material.held_out,
                seed=config.seed,
                features=network is not None,
                view=material.rule.identity,
            )
        )
        return None
    if config.scores is not None:
        return _reused(config.scores, chain, material)
    return _fitted(config, chain.select, material)


def score_samples(config: RunConfig) -> Scores:
    """Score the training samples of a configuration whose recipe selects by score; nothing is trained.

    Raises:
        InputError: anything wrong with the configuration, the data or the teacher; a recipe that does not select by
            score.
    """
    with deterministic():
        chain = Chain(**build_chain_parts(config.recipe))
        if not isinstance(chain.select, RankedSelection):
            name = config.recipe.select.stage if config.recipe.select else "none"
            raise InputError(f"selection {name!r} does not score samples before training: it needs no score file")
        with closing(prepare(config, choose_device(config.device))) as material:
            scores = settle_selection(config, material)
    assert scores is not None, "a selection by score was just built"
    return scores


def _fitted(config: RunConfig, select: RankedSelection, material: Material) -> Scores:
    teacher = _teacher(material)
    if select.needs_features and teacher.network is None:
        raise InputError(
            f"select {registered_name(select)!r} looks inside the teacher, and this one is no single network ("
            f"{teacher.kind}): give a run folder as --teacher, or select by el2n, teacher_loss, correctness or random"
        )
    history = _history(config, material, select)
    evidence = gather_evidence(
        teacher.network or teacher.signal,
        material.train,
        material.positions,
        material.held_out if select.needs_held_out else material.held_out[:0],
        seed=config.seed,
        features=select.needs_features,
        history=history,
        view=material.rule.identity,
    )
    if select.needs_held_out and evidence.held_out_label is None:
        raise InputError(
            f"select {registered_name(select)!r} weighs samples by what they do to held-out ones, but nothing is held "
            "out: give validation=0.1 or more"
        )
    select.fit(evidence)
    origin = ScoreOrigin(
        stage=registered_name(select),
        options=_options(select),
        data=config.data,
        data_fingerprint=data_fingerprint(material.dataset),
        teacher_fingerprint=teacher.fingerprint,
        size=len(material.train),
        held_out=0 if evidence.held_out_label is None else int((evidence.held_out_label != UNLABELLED).sum()),
        checkpoints=len(evidence.checkpoints),
        seed=config.seed,
        preceptor=__version__,
    )
    return _scores(select, material.positions, origin)


def _reused(path: Path, chain: Chain, material: Material) -> Scores:
    found = load_scores(path)
    select = cast(RankedSelection, chain.select)
    if found.origin.stage != registered_name(select):
        raise InputError(
            f"{path}: scores of selection {found.origin.stage!r}, the recipe asks for {registered_name(select)!r}: "
            f"give recipe.select.stage={found.origin.stage}, or other scores"
        )
    if found.origin.data_fingerprint != data_fingerprint(material.dataset):
        raise InputError(
            f"{path}: scores of other training data ({found.origin.data}): its positions mean other samples here; "
            "write new scores with preceptor select"
        )
    if found.origin.teacher_fingerprint != _teacher(material).fingerprint:
        raise InputError(f"{path}: scores made with another teacher: write new scores with preceptor select")
    _check_options(path, found.origin, select)
    positions = material.positions.sort().values
    known = torch.isin(positions, found.index)
    if not known.all():
        raise InputError(
            f"{path}: has no score for {int((~known).sum())} of the {len(positions):,} samples trained on, the first "
            f"at position {int(positions[~known][0])}: use the split the scores were made with (split_seed, validation)"
        )
    wanted = torch.isin(found.index, positions)
    select.adopt(found.index[wanted], found.score[wanted], len(material.train))
    return _scores(select, positions, found.origin.model_copy(update={"options": _options(select)}))


def _options(select: RankedSelection) -> dict[str, Any]:
    return {name: getattr(select, name) for name in options(find_stage("select", registered_name(select)))}


def _check_options(path: Path, origin: ScoreOrigin, select: RankedSelection) -> None:
    """What is kept of ready scores may differ; what made them may not."""
    for name, value in _options(select).items():
        if name not in ("keep", "lowest") and origin.options.get(name) != value:
            raise InputError(
                f"{path}: scores made with {name} = {origin.options.get(name)}, the recipe says {value}: "
                "write new scores with preceptor select, or leave that option as it was"
            )


def _scores(select: RankedSelection, positions: Tensor, origin: ScoreOrigin) -> Scores:
    index = positions.sort().values
    return Scores(index, select.scores.cpu()[index].float(), select.weight.cpu()[index] > 0, origin)


def _history(config: RunConfig, material: Material, select: RankedSelection) -> list[tuple[float, LiveTeacher]]:
    """The teacher's checkpoints, oldest first, for an estimator that looks at more than its end."""
    if not select.needs_checkpoints:
        return []
    folder = config.teachers[0]
    kept = load_checkpoints(folder)
    if not kept:
        raise InputError(
            f"select {registered_name(select)!r} sums over the teacher's training, but {folder} keeps no checkpoints: "
            "train it with --keep-checkpoints 5"
        )
    device = material.train.images.device
    loaded = [(rate, load_network(path, material.dataset, device)) for rate, path in kept]
    if loaded[-1][1][1] != _teacher(material).fingerprint:
        raise InputError(f"{kept[-1][1]}: is not the teacher as it is now: train the teacher again")
    return [(rate, teacher) for rate, (teacher, _) in loaded]


def _teacher(material: Material) -> Teacher:
    assert material.teacher is not None, "a chain with a selection needs its teacher"
    return material.teacher


def data_fingerprint(dataset: Dataset) -> str:
    """Of the training images and the labels given."""
    return fingerprint({"images": dataset.train.images, "labels": dataset.train.labels})
