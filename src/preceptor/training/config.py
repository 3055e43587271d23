"""Training configuration: optimizer, schedule, and what else shapes a run; presets by name."""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
)

from preceptor.config import FrozenModel
from preceptor.errors import InputError, first_line, unknown_name
from preceptor.training.layer_rates import layer_rates
from preceptor.training.optimizers import DOT, DeepKD, SeparateMomentum

Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


ModulePaths = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_several),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): cls
    for name, cls in vars(torch.optim).items()
    # LBFGS evaluates a closure several times a step, SparseAdam takes sparse gradients only.
    if isinstance(cls, type) and issubclass(cls, Optimizer) and name not in ("Optimizer", "LBFGS", "SparseAdam")
} | {cls.name: cls for cls in (DOT, DeepKD)}
"""``torch.optim`` classes by lower-case name, and those of ``training.optimizers``."""

SMALLEST_WARMUP = 1e-3
"""The rate that warm-up starts from, as a share of the full rate."""


class TrainingConfig(FrozenModel):
    """How a student is trained. The defaults are the standard protocol of the distillation literature on CIFAR-100
    (RepDistiller, mdistiller), but for length and schedule: short runs anneal along a cosine."""

    epochs: int = Field(default=20, ge=1, description="passes over the training samples")
    batch_size: int = Field(default=64, ge=2, description="samples per step")
    optimizer: str = Field(
        default="sgd",
        description="a torch.optim class by name: sgd, adamw, adam, rmsprop, ...; or dot or deepkd, which keep a "
        "momentum for the label losses and others for distillation",
    )
    learning_rate: float = Field(default=0.05, gt=0, allow_inf_nan=False, description="rate at the start")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd (without Nesterov), dot and deepkd")
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False, description="decay of the parameters")
    decay_norms_and_biases: bool = Field(
        default=True, description="apply weight decay to biases and normalization layers too, as the CIFAR-100 protocol"
    )
    optimizer_options: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the optimizer, such as {betas: [0.9, 0.95]}"
    )
    schedule: Literal["cosine", "steps", "linear", "constant"] = Field(
        default="cosine", description="cosine and linear anneal to zero; steps multiplies by decay_factor at decay_at"
    )
    schedule_per: Literal["epoch", "step"] = Field(default="epoch", description="when the rate changes")
    decay_at: tuple[Share, ...] = Field(
        default=(0.625, 0.75, 0.875), description="shares of training for schedule steps; epochs 150, 180, 210 of 240"
    )
    decay_factor: float = Field(default=0.1, gt=0, le=1, description="factor of schedule steps")
    warmup: float = Field(default=0.0, ge=0, lt=1, description="share of training over which the rate rises linearly")
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="largest Euclidean norm of a step's gradient; none: no limit",
    )
    accumulate: int = Field(default=1, ge=1, description="batches whose gradients are summed into one optimizer step")
    freeze: ModulePaths = Field(
        default=(),
        description="modules that stay as they are, batch norm's statistics too: paths such as stage1, or backbone for "
        "everything but the classifier head",
    )
    layer_decay: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="factor of the learning rate from one block of the network to the one before it, the classifier "
        "head's being learning_rate; none: one rate for all",
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the exponential moving average of the weights that is kept as "
        "the student; none: the last weights are",
    )

    mixup: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="a of the Beta(a, a) that mixup draws the share of a pair's first image from; 0: off. The teacher "
        "is queried on the mixed images, so a cache or a file of outputs cannot teach",
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="the same for cutmix, which puts a rectangle of the second image into the first; with mixup too, "
        "each step draws one of them; 0: off",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer.lower() not in OPTIMIZERS:
            raise ValueError(str(unknown_name("optimizer", self.optimizer, OPTIMIZERS)))
        known = set(inspect.signature(OPTIMIZERS[self.optimizer.lower()]).parameters) - {"params", "lr", "weight_decay"}
        for option in self.optimizer_options:
            if option not in known:
                raise ValueError(str(unknown_name(f"option of optimizer {self.optimizer}", option, known)))
        if self.separates_gradients and (self.accumulate > 1 or self.clip_norm is not None):
            stated = "accumulate" if self.accumulate > 1 else "clip_norm"
            raise ValueError(
                f"optimizer {self.optimizer}: keeps several gradients a step, and {stated} is of one: leave it out, or "
                "choose another optimizer"
            )
        return self

    @property
    def separates_gradients(self) -> bool:
        """Whether the optimizer takes a gradient for each kind of loss."""
        return issubclass(OPTIMIZERS[self.optimizer.lower()], SeparateMomentum)

    @property
    def mixes(self) -> bool:
        """Whether inputs are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    def build_optimizer(self, modules: Iterable[nn.Module]) -> Optimizer:
        """The optimizer over the parameters of student and loss that are not frozen.

        Args:
            modules: the student's network first, whose blocks have rates of their own with ``layer_decay``
                (``training.layer_rates``); then others, which have the full rate.

        Raises:
            InputError: an optimizer option that it refuses.
        """
        cls = OPTIMIZERS[self.optimizer.lower()]
        accepted = inspect.signature(cls).parameters
        options: dict[str, Any] = {"lr": self.learning_rate}
        if "weight_decay" in accepted:
            options["weight_decay"] = self.weight_decay
        if issubclass(cls, torch.optim.SGD | SeparateMomentum):
            options["momentum"] = self.momentum
        if "foreach" in accepted and not self.optimizer_options.get("fused"):
            options["foreach"] = True  # fewer, larger kernels, unless all are one
        options |= self.optimizer_options
        try:
            return cls(self._parameter_groups(list(modules)), **options)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"optimizer {self.optimizer} with {self.optimizer_options}: {first_line(error)}"
            ) from error

    def _parameter_groups(self, modules: list[nn.Module]) -> list[dict[str, Any]]:
        if self.layer_decay is None or not modules:
            return self._by_weight_decay([parameter for module in modules for parameter in module.parameters()], {})
        groups = []
        for block, rate in layer_rates(modules[0], self.learning_rate, self.layer_decay):
            groups += self._by_weight_decay(block, {"lr": rate})
        others = [parameter for module in modules[1:] for parameter in module.parameters()]
        return [group for group in [*groups, *self._by_weight_decay(others, {})] if group["params"]]

    def _by_weight_decay(self, parameters: list[nn.Parameter], options: dict[str, Any]) -> list[dict[str, Any]]:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if self.decay_norms_and_biases:
            return [{"params": trained, **options}]
        # Biases and the scales of normalization layers are the parameters with fewer than two dimensions.
        return [
            {"params": [parameter for parameter in trained if parameter.dim() >= 2], **options},
            {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0, **options},
        ]

    def build_schedule(self, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
        """The learning rate's schedule; ``.step()`` is due after each epoch or optimizer step (``schedule_per``)."""
        total = self.epochs * (steps_per_epoch if self.schedule_per == "step" else 1)
        warmup = round(self.warmup * total)
        rest = max(1, total - warmup)
        main: LRScheduler
        match self.schedule:
            case "cosine":
                main = CosineAnnealingLR(optimizer, T_max=rest)
            case "linear":
                main = LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=rest)
            case "steps":
                main = MultiStepLR(
                    optimizer, [round(share * total) - warmup for share in self.decay_at], self.decay_factor
                )
            case "constant":
                main = ConstantLR(optimizer, factor=1.0, total_iters=0)
        if warmup == 0:
            return main
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR steps its parts in a way that torch itself warns about
            rising = LinearLR(optimizer, start_factor=SMALLEST_WARMUP, total_iters=warmup)
            return SequentialLR(optimizer, [rising, main], milestones=[warmup])


def learning_rate_of(optimizer: Optimizer) -> float:
    """The learning rate now; with ``layer_decay`` that of the classifier head, the largest."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


PRESETS: Mapping[str, TrainingConfig] = {
    "short": TrainingConfig(),
    "standard": TrainingConfig(epochs=240, schedule="steps"),
    "finetune": TrainingConfig(
        epochs=10,
        optimizer="adamw",
        learning_rate=1e-4,
        weight_decay=0.05,
        decay_norms_and_biases=False,
        schedule_per="step",
        warmup=0.1,
        clip_norm=1.0,
    ),
}
"""``short``: the default. ``standard``: the CIFAR-100 protocol of the distillation literature. ``finetune``: AdamW at a
small rate with warm-up, for pretrained networks."""
