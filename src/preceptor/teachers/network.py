"""A network as teacher: frozen, in eval mode, with its own normalization."""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from preceptor.data.dataset import Normalizer
from preceptor.models.features import FeatureModel, call_model, feature_layers, pooled_layers
from preceptor.models.layout import channels_last_pays, to_memory_format
from preceptor.teachers.base import TeacherOutput
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
        columns: for each class of the data the output that is its logit, where the network has more classes or another
            order; None is the outputs as they are.

    Attributes:
        classes: number of logits that it gives; None is all of the network's outputs.
        feature_layers: the layers that the network lists for feature losses.
        pooled_layers: the one whose map it pools before its head.
        report: what :meth:`optimize_for_inference` did; None before.
    """

    def __init__(
        self,
        network: nn.Module,
        normalize: Normalizer | None,
        device: torch.device | str = "cpu",
        classes: int | None = None,
        columns: Sequence[int] | None = None,
    ) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False).to(device)
        self.normalize = normalize
        self.device = torch.device(device)
        self.classes = classes if columns is None else len(columns)
        self._columns = None if columns is None else torch.tensor(columns, device=self.device)
        self.feature_layers, self.pooled_layers = feature_layers(network), pooled_layers(network)
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

    def class_logits(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        """Of the network's outputs those of the data's classes, in their order, in float32."""
        chosen = outputs[:, : self.classes] if self._columns is None else outputs[:, self._columns]
        return chosen.float()

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
            batch_size: of a compiled teacher, which gets images in batches of this size, padded with zeros, so that
                one graph serves every query.
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
        if self._batch_size is None or isinstance(inputs, Mapping):
            return self._run(inputs)
        parts = []
        for part in inputs.split(self._batch_size):
            missing = self._batch_size - len(part)
            padded = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
            # A CUDA graph writes over what it returned before.
            parts.append(self._run(padded).logits[: len(part)].clone())
        return TeacherOutput(parts[0] if len(parts) == 1 else torch.cat(parts))

    def _run(self, inputs: Any) -> TeacherOutput:
        if self.normalize is not None:
            inputs = to_memory_format(self.normalize(inputs))
        if not isinstance(self.network, FeatureModel):
            return TeacherOutput(self.class_logits(call_model(self.network, inputs)))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.report is not None and self.report.bf16):
            logits, features = self.network(inputs)
        return TeacherOutput(self.class_logits(logits), {name: one.float() for name, one in features.items()})
