"""Asks a teacher, once and before training, what a selection is fitted on."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from preceptor.chunking import Table, concat_rows
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.data import ImageSet
from preceptor.errors import InputError
from preceptor.teachers.base import Teacher
from preceptor.teachers.network import NetworkTeacher


def collect_selection_data(
    teacher: Teacher,
    train: ImageSet,
    positions: Int[Tensor, " n"],
    held_out: Int[Tensor, " m"],
    *,
    seed: int,
    features: bool = True,
    history: Sequence[tuple[float, NetworkTeacher]] = (),
    view: int = 0,
) -> SelectionData:
    """What the teacher makes of the training and the held-out images, as they are, without augmentation.

    What it holds is what it returns, and some hundred images besides: in float32, a number a class and, with features,
    one a dimension, for each sample and each moment of the history.

    Args:
        teacher: as it teaches.
        train: all training images and labels, on the teacher's device.
        positions: of the samples the teacher may teach.
        held_out: of samples nobody is trained on; may be empty.
        seed: of whatever the selection draws.
        features: whether to keep what the last linear layer is given, which a live network alone can tell.
        history: moments of the teacher's training, oldest first, each with its learning rate; the last is the teacher
            itself. Empty is the teacher alone, with a learning rate of 1.
        view: the number of the view that leaves images as they are (``CropFlip.identity``), for a signal that asks.

    Raises:
        InputError: features are asked for and the teacher is no live network, or does not end in a linear layer.
    """
    live = _looked_into(teacher) if features else None
    moments: Sequence[tuple[float, Teacher]] = history or [(1.0, teacher)]
    index, of_held_out = (where.to(train.labels.device) for where in (positions, held_out))

    def made_of(network: Teacher, places: Tensor) -> ModelOutputs:
        if features:
            return outputs(_looked_into(network), train.images, places)
        return said_of(network, train.images, places, view)

    return SelectionData(
        index=index,
        label=train.labels[index].long(),
        held_out_label=train.labels[of_held_out].long() if len(held_out) else None,
        checkpoints=tuple(
            TeacherSnapshot(
                rate,
                made_of(network, positions),
                made_of(network, held_out) if len(held_out) else None,
            )
            for rate, network in moments
        ),
        has_bias=live is not None and last_linear_layer(live, train.images[:2]).bias is not None,
        size=len(train),
        seed=seed,
    )


def _looked_into(teacher: Teacher) -> NetworkTeacher:
    if not isinstance(teacher, NetworkTeacher):
        raise InputError(
            f"a selection by last-layer gradients looks inside the teacher, which {type(teacher).__name__} does not "
            "show: give a network, or select by el2n, teacher_loss, correctness or random"
        )
    return teacher


def said_of(
    teacher: Teacher,
    images: UInt8[Tensor, "all channels height width"],
    positions: Int[Tensor, " n"],
    view: int,
    batch_size: int = 512,
) -> ModelOutputs:
    """Logits alone, of any signal, for the images at these positions, in one view."""
    parts = _batches(images, positions, batch_size)
    said = (teacher.outputs(part, where, torch.full_like(where, view)).logits for part, where in parts)
    return ModelOutputs(concat_rows(said, len(positions)))


def outputs(
    teacher: NetworkTeacher,
    images: UInt8[Tensor, "all channels height width"],
    positions: Int[Tensor, " n"],
    batch_size: int = 512,
) -> ModelOutputs:
    """Logits of the images at these positions, and the inputs of the last linear layer.

    Raises:
        InputError: there is no such layer, or it runs more than once an image.
    """
    layer = last_linear_layer(teacher, images[positions[:2].to(images.device)])
    logits, inputs = Table(len(positions)), Table(len(positions))
    kept: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        # A copy: a network may go on to write over what it handed its head.
        kept.append((given[0] if given else named["input"]).detach().float().clone())

    hook = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for part, _ in _batches(images, positions, batch_size):
            kept.clear()
            logits.add(teacher(part))
            _check_once(teacher, kept, len(part))
            inputs.add(kept[0])
    finally:
        hook.remove()
    return ModelOutputs(logits.rows, inputs.rows)


def _batches(images: Tensor, positions: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images at some positions, and these positions on the CPU; once, without any, where there are none."""
    for where in positions.cpu().split(batch_size):
        yield images[where.to(images.device)], where


def _check_once(teacher: NetworkTeacher, inputs: Sequence[Tensor], images: int) -> None:
    if [len(given) for given in inputs] != [images]:
        raise InputError(
            f"the teacher ({type(teacher.network).__name__}) runs its last linear layer more than once an image: what "
            "its logits are made from cannot be told; select by el2n, teacher_loss, correctness or random"
        )


def last_linear_layer(teacher: NetworkTeacher, images: UInt8[Tensor, "n channels height width"]) -> nn.Linear:
    """The linear layer whose output the logits are, whatever it is called in the network.

    Raises:
        InputError: there is none.
    """
    made: list[tuple[nn.Linear, Tensor]] = []
    layers = [layer for layer in teacher.network.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(lambda layer, _, out: made.append((layer, out))) for layer in layers]
    try:
        logits = teacher(images)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, out in reversed(made):
        if out.dim() == 2 and torch.equal(out[:, : teacher.classes].float(), logits):
            return layer
    raise InputError(
        f"the teacher ({type(teacher.network).__name__}) does not end in a linear layer whose output the logits are, "
        "unchanged: a selection by last-layer gradients needs one; select by el2n, teacher_loss, correctness or random"
    )
