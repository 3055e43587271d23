"""A network as teacher: frozen, in eval mode, with its own normalization; and a look at any teacher beforehand."""

from collections.abc import Iterable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from preceptor.chunking import Table
from preceptor.context import UNLABELED, predicted_class
from preceptor.data import Normalization
from preceptor.errors import InputError
from preceptor.models.features import FeatureModel, call_model, feature_layers
from preceptor.models.layout import channels_last_pays, to_memory_format
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.optimize import OptimizationReport, optimize_for_inference


class NetworkTeacher:
    """A frozen copy of a network that returns logits, and features where they are asked for.

    A copy, in eval mode, without gradients, and not an ``nn.Module``: nothing the caller does to the network later
    reaches it, and it can neither slip into a student's checkpoint nor be wrapped or trained.

    Args:
        network: returns logits [batch, outputs], or an object with ``logits``; inputs in a mapping are its keywords.
        normalize: of this teacher's images, which may differ from the student's; None passes inputs as they are.
        device: where it runs.
        classes: number of outputs that are classes; None is all. A network that may abstain has one output more, which
            is left out.

    Attributes:
        feature_layers: the layers that the network lists for feature losses.
        report: what :meth:`optimize_for_inference` did; None before.
    """

    def __init__(
        self,
        network: nn.Module,
        normalize: Normalization | None,
        device: torch.device | str = "cpu",
        classes: int | None = None,
    ) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False).to(device)
        self.normalize = normalize
        self.device = torch.device(device)
        self.classes = classes
        self.feature_layers = feature_layers(network)
        self.report: OptimizationReport | None = None
        self._original = self.network
        self._batch_size: int | None = None

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Float[Tensor, "batch classes"]:
        """Raw logits in float32; images are uint8."""
        return self._query(inputs).logits

    def outputs(self, inputs: Any, index: Int[Tensor, " batch"], view: Int[Tensor, " batch"]) -> TeacherOutput:
        """Raw logits and features in float32, whatever the inputs' index and view; see ``Teacher``."""
        return self._query(inputs)

    def optimize_for_inference(
        self,
        *,
        bf16: bool | None = None,
        compile: bool = False,  # noqa: A002
        batch_size: int = 64,
        image_size: tuple[int, int] | None = None,
    ) -> Self:
        """The same teacher made faster, see ``teachers.optimize``; its outputs differ by rounding.

        Its network has other layers than the original: collect selection data from the original.

        Args:
            bf16: None (default) is where the device has units for it.
            compile: with the weights frozen into the code. Default False: it costs 20 s or more.
            batch_size: of a compiled teacher, which gets batches of this size, padded with zeros, so that one graph
                serves every query.
            image_size: height and width in pixels, which decide the memory layout; None is channels last.
        """
        channels_last = image_size is None or channels_last_pays(image_size)
        network, report = optimize_for_inference(
            self.network, self.device, bf16=bf16, compile=compile, channels_last=channels_last
        )
        teacher = copy(self)
        teacher.network, teacher.report = network, report
        teacher._batch_size = batch_size if report.compiled else None
        return teacher

    def with_features(self, layers: Sequence[str]) -> Self:
        """The same teacher returning the outputs of some layers too.

        It runs the network as it came, since folding changes what a layer's output is; in bf16 where this teacher does.

        Args:
            layers: module paths, as in ``named_modules()``.

        Raises:
            InputError: there is no such module; the nearest path is offered.
        """
        teacher = copy(self)
        teacher.network = FeatureModel(deepcopy(self._original), layers)
        teacher._batch_size = None
        return teacher

    @torch.no_grad()
    def _query(self, inputs: Any) -> TeacherOutput:
        if self._batch_size is None:
            return self._run(inputs)
        parts = [self._run_padded(part, self._batch_size) for part in inputs.split(self._batch_size)]
        return TeacherOutput(parts[0] if len(parts) == 1 else torch.cat(parts))

    def _run(self, inputs: Any) -> TeacherOutput:
        if self.normalize is not None:
            inputs = to_memory_format(self.normalize(inputs))
        if not isinstance(self.network, FeatureModel):
            return TeacherOutput(call_model(self.network, inputs)[:, : self.classes].float())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.report is not None and self.report.bf16):
            logits, features = self.network(inputs)
        return TeacherOutput(logits[:, : self.classes].float(), {name: one.float() for name, one in features.items()})

    def _run_padded(self, images: Tensor, batch_size: int) -> Tensor:
        missing = batch_size - len(images)
        padded = torch.cat([images, images.new_zeros(missing, *images.shape[1:])]) if missing else images
        # A CUDA graph writes over what it returned before.
        return self._run(padded).logits[: len(images)].clone()


_ENOUGH_TO_DIFFER = 16
"""On fewer images a very confident teacher may give the same logits to the last bit."""


@dataclass(frozen=True)
class TeacherCheck:
    """What a look at the teacher before training found.

    Attributes:
        images: how many training images were looked at, as they are, without augmentation.
        accuracy: share of the labeled ones whose given label it predicts; None when none is labeled.
        wrong: how many labeled ones it gets wrong: the samples a correction will touch.
    """

    images: int
    accuracy: float | None
    wrong: int


@dataclass(frozen=True, eq=False)
class Answers:
    """What the teacher answered about images before training, on the CPU.

    Attributes:
        position: where the images stand in the training set.
        label: their given labels; -1 where there is none.
        answer: the classes of its largest logits.
    """

    position: Int[Tensor, " n"]
    label: Int[Tensor, " n"]
    answer: Int[Tensor, " n"]

    @property
    def labeled(self) -> Bool[Tensor, " n"]:
        """Images that have a label."""
        return self.label != UNLABELED

    @property
    def wrong(self) -> Bool[Tensor, " n"]:
        """LabeledData images of which it answers another class."""
        return self.labeled & (self.answer != self.label)

    @property
    def check(self) -> TeacherCheck:
        """What they come to."""
        count, wrong = int(self.labeled.sum()), int(self.wrong.sum())
        return TeacherCheck(len(self.label), (count - wrong) / count if count else None, wrong)

    def confusion(self, classes: int) -> Int[Tensor, "labels outputs"]:
        """How many images of each label (row) are answered by each of its outputs (column)."""
        cells = (self.label * classes + self.answer)[self.labeled]
        return torch.bincount(cells, minlength=classes**2).reshape(classes, classes)


def check_teacher(
    teacher: Teacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    positions: Int[Tensor, " n"] | None = None,
    view: int = 0,
    batch_size: int = 512,
) -> TeacherCheck:
    """Ask the teacher once about images, before the first step of training; see :func:`answers_of`."""
    return answers_of(teacher, images, labels, classes, positions=positions, view=view, batch_size=batch_size).check


def answers_of(
    teacher: Teacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    positions: Int[Tensor, " n"] | None = None,
    view: int = 0,
    batch_size: int = 512,
) -> Answers:
    """Ask the teacher once about images, before the first step of training.

    Args:
        teacher: the teacher.
        images: training images, 0 to 255, on the teacher's device.
        labels: their given labels; -1 where there is none.
        classes: how many classes the data set has.
        positions: where the images stand in the training set, on the CPU; None is in the order given.
        view: the number of the view they are in, see ``data.CropFlip.identity``.
        batch_size: images at a time.

    Raises:
        InputError: another number of classes than the data set, logits that are not finite (the first such image is
            named), or the same ones for every image.
    """
    where = torch.arange(len(images)) if positions is None else positions.cpu()
    parts = zip(images.split(batch_size), where.split(batch_size), strict=True)
    batches = (teacher.outputs(part, at, torch.full_like(at, view)).logits for part, at in parts)
    answers, finite, same = _looked_at(batches, len(images), classes)
    bad = (~finite).nonzero().flatten()
    if len(bad):
        raise InputError(
            f"the teacher's logits are not finite for {len(bad)} of {len(images)} training images, the first at "
            f"position {int(where[bad[0].cpu()])}: check its weights and the range of its input"
        )
    if len(answers) >= _ENOUGH_TO_DIFFER and len(labels.unique()) > 1 and same:
        raise InputError(
            f"the teacher's logits are the same for all {len(images)} training images, to the last bit: it teaches "
            "nothing; check its weights, its file and the range of its input"
        )
    return Answers(where, labels.cpu().long(), answers.cpu())


def _looked_at(
    batches: Iterable[Float[Tensor, "batch classes"]], images: int, classes: int
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"], bool]:
    """Of logits that come in parts: the answers, which rows are finite, and whether all rows are the same.

    No more than a part is kept: of a million images of a thousand classes the logits alone would be 4 GB.

    Raises:
        InputError: another number of classes.
    """
    answers, finite, same, first = Table(images), Table(images), True, None
    for logits in batches:
        if logits.shape[1] != classes:
            raise InputError(
                f"the teacher has {logits.shape[1]} classes, the data set {classes}: "
                "use a teacher trained on these classes, in this order"
            )
        first = logits[:1].clone() if first is None else first
        answers.add(predicted_class(logits))
        finite.add(logits.isfinite().all(dim=1))
        same = same and bool((logits == first).all())
    return answers.rows, finite.rows, same
