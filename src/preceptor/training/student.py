"""A student in training: its network and loss, its optimizer, schedule and metrics, and how it takes a step."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from preceptor.component_types import GradientSource
from preceptor.data.randomness import reseed
from preceptor.loss import DistillationLoss
from preceptor.loss_output import LossOutput
from preceptor.models.features import FeatureModel
from preceptor.training.callbacks import StudentFailed
from preceptor.training.config import TrainingConfig, learning_rate_of
from preceptor.training.distributed import average_gradients, gathered, rank, world_size
from preceptor.training.freezing import freeze, keep_frozen
from preceptor.training.metrics import EpochMetrics, EpochRecord
from preceptor.training.optimizers import SeparateMomentum
from preceptor.training.profiler import profiled
from preceptor.training.sharding import all_finite, load_network, load_optimizer, whole
from preceptor.training.step import Step

MOST_RESERVED = 0.99
"""A student whose mean reservation over an epoch is above this has collapsed: it abstains on everything."""

Forward = Callable[[Any], tuple[Tensor, dict[str, Tensor]]]
"""Inputs to logits and features."""


class Student(nn.Module):
    """A student network with the loss that teaches it.

    Args:
        name: unique among the students of a trainer.
        network: takes a batch's inputs and returns logits [batch, outputs], or an object with ``logits``; a mapping of
            inputs is passed by keyword. Images are uint8: wrap a network that wants them normalized in ``ImageModel``.
        loss: its parameters (adapters, a learned temperature) are trained too, and do not ship.
        training: its own optimizer and schedule, of the trainer's epochs and batch size. Default the trainer's.
    """

    def __init__(
        self, name: str, network: nn.Module, loss: DistillationLoss, training: TrainingConfig | None = None
    ) -> None:
        super().__init__()
        self.name, self.network, self.loss, self.training_config = name, network, loss, training


class StudentTrainer:
    """A student with everything that training it changes.

    Args:
        student: trained in place.
        model: its network, returning features too.
        steps: batches an epoch.
        samples: size of the training set.
        result: the network that takes over what is learned, where the student's own is divided among processes; None
            is the student's own.
        precision: "bf16" runs the network under autocast; losses and weights are float32 either way.

    Attributes:
        frozen: modules of the network that are not trained (``config.freeze``), and stay so.
        forward: how the network is run: ``model``, or ``model`` compiled, or distributed.
        average: moving average of the network; None without ``config.ema``.
    """

    def __init__(
        self,
        student: Student,
        model: FeatureModel,
        config: TrainingConfig,
        *,
        steps: int,
        samples: int,
        precision: Literal["fp32", "bf16"],
        device: torch.device,
        result: nn.Module | None = None,
    ) -> None:
        self.student, self.config, self.precision, self.device = student, config, precision, device
        self.result = result
        student.loss.expect_samples(samples)
        self.forward: Forward = model
        self.model = model
        self.frozen = freeze(student.network, config.freeze)
        self.optimizer = config.build_optimizer([student.network, student.loss])
        if isinstance(self.optimizer, SeparateMomentum):
            self.optimizer.check_sources({name: term.gradient_source for name, term in student.loss.terms.items()})
        self.schedule = config.build_schedule(self.optimizer, -(-steps // config.accumulate))
        self.metrics = EpochMetrics(student.loss.abstains)
        self.outputs: int | None = None
        self.average: AveragedModel | None = None
        if config.ema is not None:
            averaging = get_ema_multi_avg_fn(config.ema)
            self.average = AveragedModel(student.network, multi_avg_fn=averaging, use_buffers=True)
        # Buffers that hold infinities from the start are masks, not statistics that training has spoilt.
        self._masks = {name for name, buffer in student.network.named_buffers() if not bool(buffer.isfinite().all())}

    @property
    def name(self) -> str:
        return self.student.name

    @property
    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def trained_network(self) -> nn.Module:
        """The network to evaluate and keep: the moving average where there is one."""
        if self.result is not None:
            return self.result
        return self.student.network if self.average is None else self.average.module

    def forward_and_loss(self, step: Step) -> tuple[Tensor, LossOutput]:
        loss, teacher, size = self.student.loss, step.teacher, len(step.batch.label)
        reseed((step.rng_seed + (rank() << 48)) % 2**63, self.device)  # processes drop units out of different samples
        with profiled("student"), self._autocast():
            logits, features = self.forward(step.batch.inputs)
        logits, features = gathered(logits, size), {name: gathered(one, size) for name, one in features.items()}
        if world_size() > 1:
            reseed(step.rng_seed, self.device)  # and the loss of the whole batch draws the same in each
        self.outputs = logits.shape[1]
        if not loss.uses_teacher_at(step.progress):
            teacher = None  # queried for another student
        with profiled("loss"):
            output: LossOutput = loss(
                logits,
                None if teacher is None else teacher.logits,
                step.batch.label,
                index=step.batch.index,
                progress=step.progress,
                student_features=features,
                teacher_features=None if teacher is None else teacher.features,
                mixed=step.batch.mixed,
            )
        return logits, output

    def train_step(self, step: Step) -> LossOutput:
        """Forward, loss, backward; and, unless gradients are still being accumulated, one optimizer step."""
        started = time.perf_counter()
        logits, output = self.forward_and_loss(step)
        first = step.number - step.number % self.config.accumulate
        group = min(self.config.accumulate, step.steps - first)  # the last group of an epoch may be smaller
        with profiled("backward"):
            if isinstance(self.optimizer, SeparateMomentum):
                self.optimizer.collect(self._by_source(output))
            else:
                if step.number == first:
                    self.optimizer.zero_grad(set_to_none=True)
                (output.total if group == 1 else output.total / group).backward()
        if step.number == first + group - 1:
            with profiled("optimizer"):
                self._optimizer_step()
        trains_reservation = self.student.loss.trains_reservation(step.progress)
        self.metrics.add(output, logits, step.batch.leading_label, trains_reservation=trains_reservation)
        self.metrics.seconds += time.perf_counter() - started
        return output

    def _by_source(self, output: LossOutput) -> dict[GradientSource, list[Tensor]]:
        """The losses by what their gradient is of."""
        losses: dict[GradientSource, list[Tensor]] = {}
        for name, term in self.student.loss.terms.items():
            losses.setdefault(term.gradient_source, []).append(output.losses[name])
        return losses

    def _optimizer_step(self) -> None:
        average_gradients(self.student.loss.parameters())
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm)
        self.optimizer.step()
        if self.config.schedule_per == "step":
            self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.student.network)

    def update_result(self) -> None:
        """Let the result take over the weights of a divided network; all processes must."""
        if self.result is not None:
            self.result.load_state_dict(whole(self.student.network.state_dict()))

    def keep_average(self) -> None:
        """Make the moving average, where there is one, the student's weights."""
        if self.average is not None:
            self.student.network.load_state_dict(self.average.module.state_dict())

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def begin_epoch(self, new: bool = True) -> None:
        """Start the metrics of an epoch, unless it had begun before a resume."""
        self.student.train()
        keep_frozen(self.frozen)
        if new:
            self.metrics = EpochMetrics(self.student.loss.abstains)

    def end_epoch(self, epoch: int, images_per_second: float, seconds: float) -> EpochRecord:
        """The record of the epoch, and a step of a schedule that steps once an epoch.

        Raises:
            StudentFailed: an InputError too: a student that abstains on nearly everything.
        """
        rate, metrics = learning_rate_of(self.optimizer), self.metrics
        reservation = metrics.mean_reservation()
        if reservation is not None and reservation > MOST_RESERVED:
            raise StudentFailed(
                f"student {self.name!r}: in epoch {epoch} it reserves {reservation:.1%} of its bets, so it abstains on "
                "nearly everything: give a larger payoff (above 1 / the teacher's usual confidence, below the number "
                "of classes), a lower temperature, or a longer warm-up on the labels",
                self.name,
            )
        if self.config.schedule_per == "epoch":
            self.schedule.step()
        losses = metrics.mean_losses()
        return EpochRecord(
            student=self.name,
            epoch=epoch,
            learning_rate=rate,
            total=losses.pop("total"),
            losses=losses,
            train_accuracy=metrics.accuracy(),
            corrected=metrics.share("corrected"),
            clamped=metrics.share("clamped"),
            temperature=metrics.mean_temperature(),
            reservation=reservation,
            images_per_second=images_per_second,
            seconds=seconds,
            queried=metrics.queried,
            student_seconds=metrics.seconds,
            skipped=metrics.skipped,
        )

    @torch.no_grad()
    def is_finite(self) -> Bool[Tensor, ""]:
        """Whether the epoch's losses, everything trained and accumulated gradients are finite; stays on the device.

        Non-finite values stay non-finite, so this check may run many steps later.
        """
        values = [*self.metrics.losses.values(), *self._trained_tensors().values()]
        if self.config.accumulate > 1:  # else the group's last step would be blamed, and a checkpoint hold them
            values += [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self.result is not None:
            return all_finite(values)
        return torch.nn.utils.get_total_norm(values, torch.inf).isfinite()

    def non_finite(self) -> list[str]:
        """Names of parameters and running statistics that are not finite; waits for the device."""
        return [name for name, tensor in self._trained_tensors().items() if not bool(tensor.detach().isfinite().all())]

    def _trained_tensors(self) -> dict[str, Tensor]:
        network, loss = self.student.network, self.student.loss
        statistics = {
            name: buffer
            for name, buffer in network.named_buffers()
            if buffer.is_floating_point() and name not in self._masks
        }
        tensors = {**dict(network.named_parameters()), **statistics, **dict(loss.named_parameters(prefix="loss"))}
        return {name: tensor for name, tensor in tensors.items() if tensor.numel()}

    @property
    def _parts(self) -> dict[str, Any]:
        """What has a state of its own."""
        parts = {
            "network": self.student.network,
            "loss": self.student.loss,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "metrics": self.metrics,
        }
        return parts if self.average is None else {**parts, "average": self.average}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of training follows from, beside data and settings."""
        state = {
            **{name: part.state_dict() for name, part in self._parts.items()},
            # In the middle of an accumulation the gradients so far belong to the state.
            "gradients": [parameter.grad for parameter in self._parameters] if self.config.accumulate > 1 else None,
        }
        return state if self.result is None else whole(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over such a state of a student of the same kind.

        Raises:
            RuntimeError, ValueError, LookupError, TypeError: it is of another kind.
        """
        load = {} if self.result is None else {"network": load_network, "optimizer": load_optimizer}
        for name, part in self._parts.items():
            load.get(name, type(part).load_state_dict)(part, state[name])
        if state["gradients"] is not None:
            for parameter, gradient in zip(self._parameters, state["gradients"], strict=True):
                parameter.grad = gradient
