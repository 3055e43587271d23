"""Training data as batches: order and views follow from (seed, epoch) alone, so any step can be made again.

Several processes make the same batches; each makes the inputs of its own rows alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from preceptor.context import MixedLabels
from preceptor.data import Augmentation, ImageSet, NoAugmentation, TwoViews, epoch_order
from preceptor.data.lazy import LazyInputs
from preceptor.errors import InputError
from preceptor.training.distributed import own_rows, world_size

Inputs = Tensor | Mapping[str, Tensor]
"""A tensor [n, ...], or tensors [n, ...] by name, such as token ids and attention mask."""


@dataclass(frozen=True)
class Batch:
    """One batch in the views of its epoch.

    ``label``, ``index`` and ``mixed`` are of the whole batch. The others are of this process's rows, all of them where
    there is one process.

    Attributes:
        inputs: what the networks take: a tensor, or tensors by name; images are uint8.
        label: class numbers; -1 where there is none.
        index: positions in the training set.
        own_index: the same, of this process's rows, on the CPU: for teachers that look outputs up.
        view: numbers of the views, on the CPU.
        queried: rows to query the teacher on, on the device and on the CPU; None is all.
        mixed: the second labels, where inputs are mixed in pairs.
    """

    inputs: Any
    label: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]
    own_index: Int[Tensor, " own"]
    view: Int[Tensor, " own"]
    queried: tuple[Int[Tensor, " some"], Int[Tensor, " some"]] | None = None
    mixed: MixedLabels | None = None

    @property
    def leading_label(self) -> Int[Tensor, " batch"]:
        """The label; of mixed inputs that of the larger share."""
        return self.label if self.mixed is None else self.mixed.leading(self.label)


@dataclass(frozen=True)
class EpochPlan:
    """Which sample is shown in which view when, known before the epoch begins.

    Attributes:
        index: positions in the training set, in the order of the epoch, on the CPU.
        view: number of each one's view, on the CPU.
        bounds: start and end of each batch in that order.
    """

    index: Int[Tensor, " n"]
    view: Int[Tensor, " n"]
    bounds: tuple[tuple[int, int], ...]


def plan_epoch(
    index: Int[Tensor, " n"], augmentation: Augmentation, *, batch_size: int, seed: int, epoch: int
) -> EpochPlan:
    """The plan of an epoch, counted from 0, of the samples at ``index``, positions in the training set on the CPU.

    Order and views follow from (seed, epoch) and each sample's position alone. With :class:`~preceptor.data.TwoViews` a
    batch has two rows a sample. The last batch holds the rest; a single sample left over joins the batch before it,
    since batch normalization cannot work on one, and so do fewer samples than there are processes.
    """
    order = index[epoch_order(seed, epoch, len(index))]
    starts = [batch_size * step for step in range(steps_in_epoch(len(order), batch_size))]
    bounds = zip(starts, [*starts[1:], len(order)], strict=True)
    plan = EpochPlan(order, augmentation.draw(seed, epoch, order), tuple(bounds))
    if not isinstance(augmentation, TwoViews):
        return plan
    return _in_two_views(plan, augmentation.draw_strong(seed, epoch, order))


def _in_two_views(plan: EpochPlan, strong: Int[Tensor, " n"]) -> EpochPlan:
    """The same batches with twice as many rows: the samples in their own views, then in these."""
    parts = [slice(*bounds) for bounds in plan.bounds]
    index = torch.cat([torch.cat([plan.index[part]] * 2) for part in parts])
    view = torch.cat([torch.cat([plan.view[part], strong[part]]) for part in parts])
    return EpochPlan(index, view, tuple((2 * start, 2 * end) for start, end in plan.bounds))


def steps_in_epoch(samples: int, batch_size: int) -> int:
    """Number of batches in an epoch."""
    full, left = divmod(samples, batch_size)
    return max(1, full + (left >= max(2, world_size())))


def own_part(plan: EpochPlan) -> EpochPlan:
    """A plan with this process's rows of each batch alone."""
    if world_size() == 1:
        return plan
    rows = [torch.arange(start, end)[own_rows(end - start)] for start, end in plan.bounds]
    ends = torch.tensor([len(part) for part in rows]).cumsum(0).tolist()
    chosen = torch.cat(rows)
    return EpochPlan(plan.index[chosen], plan.view[chosen], tuple(zip([0, *ends[:-1]], ends, strict=True)))


class TrainingData:
    """Inputs and labels in memory, the samples of them to train on, and their augmentation.

    Args:
        inputs: of the whole training set: a tensor, tensors by name, or lazy inputs; augmentations take uint8
            images.
        labels: class numbers [n]; -1 marks an unlabeled sample.
        index: samples to train on, positions in the training set; None is all.
        augmentation: its views are shown to students and teacher alike; None shows the inputs as they are.
        device: where batches are needed; None is where the inputs are. Inputs on the CPU are copied batch by batch,
            through pinned memory for CUDA.

    Raises:
        InputError: not one label an input, or fewer than two samples to train on.
    """

    def __init__(
        self,
        inputs: Inputs | LazyInputs,
        labels: Int[Tensor, " n"],
        index: Int[Tensor, " chosen"] | None = None,
        augmentation: Augmentation | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.labels = labels
        self.index = torch.arange(len(labels)) if index is None else index.cpu()
        self.augmentation = augmentation if augmentation is not None else NoAugmentation()
        self.device = device or labels.device
        self.inputs = inputs.to(self.device) if isinstance(inputs, LazyInputs) else inputs
        for name, tensor in named_inputs(inputs):
            if len(tensor) != len(labels):
                raise InputError(f"{name}: {len(tensor)} rows, but {len(labels)} labels: give one label a row")
        if len(self.index) < 2:
            raise InputError(f"{len(self.index)} training samples: at least 2 are needed")

    @staticmethod
    def of_images(
        images: ImageSet,
        index: Int[Tensor, " chosen"] | None = None,
        augmentation: Augmentation | None = None,
        device: torch.device | None = None,
    ) -> "TrainingData":
        return TrainingData(images.images, images.labels, index, augmentation, device)

    def __len__(self) -> int:
        """Size of the whole training set, in which positions count."""
        return len(self.labels)

    def plan(self, batch_size: int, seed: int, epoch: int) -> EpochPlan:
        return plan_epoch(self.index, self.augmentation, batch_size=batch_size, seed=seed, epoch=epoch)

    def batches(
        self, plan: EpochPlan, *, queried: Bool[Tensor, " size"] | None = None, first: int = 0
    ) -> Iterator[Batch]:
        """The batches of a plan, from number ``first`` on.

        ``queried`` tells, by position in the training set, whether to query the teacher (None: always). It is on the
        CPU, so that no batch waits for the device.
        """
        own = own_part(plan)
        # One transfer for the whole epoch; a batch then takes slices of what is there already.
        index = to_device(plan.index, self.device)
        stored = index if self.labels.device.type == self.device.type else plan.index
        rows = None if queried is None else _queried_rows(queried[own.index], own.bounds, self.device)
        inputs = self._inputs(own, first)
        for number in range(first, len(plan.bounds)):
            part, mine = slice(*plan.bounds[number]), slice(*own.bounds[number])
            yield Batch(
                inputs=next(inputs),
                label=to_device(self.labels[stored[part]], self.device),
                index=index[part],
                own_index=own.index[mine],
                view=own.view[mine],
                queried=None if rows is None else rows[number],
            )

    def _inputs(self, plan: EpochPlan, first: int) -> Iterator[Any]:
        """The inputs of each batch in its views; lazy ones are made ahead."""
        parts = [slice(*bounds) for bounds in plan.bounds[first:]]
        if isinstance(self.inputs, LazyInputs):
            yield from self.inputs.batches(((plan.index[part], plan.view[part]) for part in parts), self.augmentation)
            return
        views = to_device(plan.view, self.device)
        stored = plan.index.to(self.labels.device)
        for part in parts:
            inputs = to_device(take_rows(self.inputs, stored[part]), self.device)
            yield self.augmentation.apply(inputs, views[part])

    @property
    def rows_per_sample(self) -> int:
        """Rows of a batch that show one sample: two in two views."""
        return 2 if isinstance(self.augmentation, TwoViews) else 1

    def probe(self, samples: int) -> Any:
        """The inputs of the first samples as they are, on the device: to find shapes and costs."""
        some = self.index[:samples].to(self.labels.device)
        return to_device(take_rows(self.inputs, some), self.device)


def named_inputs(inputs: Inputs | LazyInputs) -> list[tuple[str, Tensor | LazyInputs]]:
    """The parts of inputs with a name each."""
    if isinstance(inputs, Mapping):
        return [(f"inputs[{name!r}]", tensor) for name, tensor in inputs.items()]
    return [("inputs", inputs)]


def take_rows(inputs: Any, rows: Tensor | slice) -> Any:
    """The same rows of every tensor."""
    return {name: tensor[rows] for name, tensor in inputs.items()} if isinstance(inputs, Mapping) else inputs[rows]


def to_device(inputs: Any, device: torch.device) -> Any:
    """Inputs on a device; to CUDA through pinned memory, so that the copy does not wait for the device."""
    if not isinstance(inputs, Tensor):
        return {name: to_device(tensor, device) for name, tensor in inputs.items()}
    if inputs.device.type == device.type or device.type != "cuda":
        return inputs.to(device)
    return inputs.pin_memory().to(device, non_blocking=True)


def _queried_rows(
    queried: Bool[Tensor, " n"], bounds: tuple[tuple[int, int], ...], device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    rows = [queried[start:end].nonzero().squeeze(1) for start, end in bounds]
    on_device = to_device(torch.cat(rows), device).split([len(part) for part in rows])
    return list(zip(on_device, rows, strict=True))
