"""Teacher outputs that a selection is fitted on, collected once before training."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from preceptor.chunking import Table, concat_rows
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.data import ImageSet
from preceptor.data.lazy import Inputs
from preceptor.errors import InputError
from preceptor.teachers.base import Teacher
from preceptor.teachers.network import NetworkTeacher

BATCH_SIZE = 512
"""Inputs at a time."""


def collect_selection_data(
    teacher: Teacher,
    train: ImageSet,
    index: Int[Tensor, " n"],
    held_out: Int[Tensor, " m"],
    *,
    seed: int,
    features: bool = True,
    history: Sequence[tuple[float, NetworkTeacher]] = (),
    view: int = 0,
) -> SelectionData:
    """The teacher's outputs for the training and the held-out images, as they are, without augmentation.

    Memory is that of the result and of some hundred images: in float32, a number a class and, with features, one a
    dimension, for each sample and each snapshot of the history.

    Args:
        teacher: as it teaches.
        train: all training images and labels, on the teacher's device.
        index: positions of the samples that the teacher may teach.
        held_out: positions of samples that are not trained on; may be empty.
        seed: of the selection's random draws.
        features: whether to keep the inputs of the last linear layer, which only a network has.
        history: snapshots of the teacher's training, oldest first, each with its learning rate; the last is the teacher
            itself. Empty is the teacher alone, with a learning rate of 1.
        view: number of the identity view (``CropFlip.identity``).

    Raises:
        InputError: features of a teacher that is no network, or does not end in a linear layer.
    """
    snapshots: Sequence[tuple[float, Teacher]] = history or [(1.0, teacher)]
    on_device, held_out_on_device = (where.to(train.labels.device) for where in (index, held_out))

    def collect(snapshot: Teacher, where: Tensor) -> ModelOutputs:
        if features:
            return outputs_with_features(_as_network(snapshot), train.images, where)
        batches = _batches(train.images, where)
        logits = (snapshot.outputs(batch, some, torch.full_like(some, view)).logits for batch, some in batches)
        return ModelOutputs(concat_rows(logits, len(where)))

    return SelectionData(
        index=on_device,
        label=train.labels[on_device].long(),
        held_out_label=train.labels[held_out_on_device].long() if len(held_out) else None,
        checkpoints=tuple(
            TeacherSnapshot(rate, collect(snapshot, index), collect(snapshot, held_out) if len(held_out) else None)
            for rate, snapshot in snapshots
        ),
        has_bias=features and last_linear_layer(_as_network(teacher), train.images[:2]).bias is not None,
        size=len(train),
        seed=seed,
    )


def _as_network(teacher: Teacher) -> NetworkTeacher:
    if not isinstance(teacher, NetworkTeacher):
        raise InputError(
            f"a selection by last-layer gradients needs the layers of the teacher, and {type(teacher).__name__} has "
            "none: give a network, or select by el2n, teacher_loss, correctness or random"
        )
    return teacher


def outputs_with_features(
    teacher: NetworkTeacher,
    images: Inputs,
    index: Int[Tensor, " n"],
    batch_size: int = BATCH_SIZE,
) -> ModelOutputs:
    """Logits for the images at these positions, and the inputs of the last linear layer.

    Raises:
        InputError: there is no such layer, or it runs more than once an image.
    """
    layer = last_linear_layer(teacher, images[index[:2].to(images.device)])
    logits, inputs = Table(len(index)), Table(len(index))
    seen: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        # A copy, since a network may go on to overwrite what it passed to its head.
        seen.append((args[0] if args else kwargs["input"]).detach().float().clone())

    hook = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for batch, _ in _batches(images, index, batch_size):
            seen.clear()
            logits.add(teacher(batch))
            if [len(one) for one in seen] != [len(batch)]:
                raise InputError(
                    f"the teacher ({type(teacher.network).__name__}) runs its last linear layer more than once an "
                    "image: the inputs of its logits are unknown; select by el2n, teacher_loss, correctness or random"
                )
            inputs.add(seen[0])
    finally:
        hook.remove()
    return ModelOutputs(logits.rows, inputs.rows)


def _batches(images: Inputs, index: Tensor, batch_size: int = BATCH_SIZE) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and their positions on the CPU; one empty batch where there are none."""
    for where in index.cpu().split(batch_size):
        yield images[where.to(images.device)], where


def last_linear_layer(teacher: NetworkTeacher, images: UInt8[Tensor, "n channels height width"]) -> nn.Linear:
    """The linear layer whose output the logits are, whatever its name.

    Raises:
        InputError: there is none.
    """
    calls: list[tuple[nn.Linear, Tensor]] = []
    layers = [layer for layer in teacher.network.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(lambda layer, _, out: calls.append((layer, out))) for layer in layers]
    try:
        logits = teacher(images)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, out in reversed(calls):
        if out.dim() == 2 and torch.equal(teacher.class_logits(out), logits):
            return layer
    raise InputError(
        f"the teacher ({type(teacher.network).__name__}) does not end in a linear layer whose output the logits are, "
        "unchanged: a selection by last-layer gradients needs one; select by el2n, teacher_loss, correctness or random"
    )
