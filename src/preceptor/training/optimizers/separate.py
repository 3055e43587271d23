"""Stochastic gradient descent that keeps a momentum for each kind of loss."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from preceptor.component_types import GradientSource
from preceptor.errors import InputError


class SeparateMomentum(Optimizer):
    """SGD whose momentum is the sum of several, each of the gradient of its own losses.

    ``m_k <- mu_k m_k + g_k`` for each buffer k and ``w <- w - lr sum_k m_k``. Weight decay counts as a part of the
    gradient of the first buffer that has one of the parameter. A parameter of which not every buffer has one, such as
    an adapter of a feature loss, has the plain momentum ``mu``, as in DOT's code; so have all of them while no loss
    of a buffer is active. A buffer without a gradient stays as it is and moves nothing.

    Each buffer costs a backward pass of its own and memory like one more gradient and momentum.

    Args:
        params: parameters, or groups of them.
        lr: learning rate, above 0.
        momentum: mu, 0 or more, below 1.
        deltas: what each buffer's momentum differs from mu by.
        weight_decay: 0 or more.
        decayed: number of the buffer that the weight decay goes to first. Default 0.

    Raises:
        InputError: a momentum outside 0 to 1.
    """

    sources: ClassVar[Mapping[GradientSource, int]]
    """The buffer of each kind of loss."""
    name: ClassVar[str]

    def __init__(
        self, params: Any, lr: float, momentum: float, deltas: Sequence[float], weight_decay: float, decayed: int = 0
    ) -> None:
        self.momenta = [momentum + delta for delta in deltas]
        for value in (momentum, *self.momenta):
            if not 0 <= value < 1:
                raise InputError(
                    f"optimizer {self.name}: a momentum of {value:g} (momentum {momentum:g}); expected 0 or more, "
                    "below 1: choose another momentum or delta"
                )
        self.momentum, self.decayed = momentum, decayed
        self._gradients: list[dict[Tensor, Tensor]] = [{} for _ in deltas]
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def check_sources(self, terms: Mapping[str, GradientSource]) -> None:
        """Refuse a loss that has no buffer.

        Args:
            terms: where the gradient of each term comes from, by name.

        Raises:
            InputError: a term that is none of the optimizer's.
        """
        for name, source in terms.items():
            if source not in self.sources:
                raise InputError(
                    f"optimizer {self.name}: keeps gradients apart by {', '.join(self.sources)}, and term {name!r} is "
                    f"of {source}: choose a recipe whose terms are, such as {self.name}, or another optimizer"
                )

    def collect(self, losses: Mapping[GradientSource, Sequence[Float[Tensor, ""]]]) -> None:
        """Take the gradients of the losses for the next step, a backward pass for each buffer.

        Args:
            losses: the scalars of each source; they share one graph, which is freed.
        """
        parameters = [one for group in self.param_groups for one in group["params"]]
        parts: list[list[Tensor]] = [[] for _ in self.momenta]
        for source, scalars in losses.items():
            parts[self.sources[source]] += [one for one in scalars if one.requires_grad]
        last = max((number for number, part in enumerate(parts) if part), default=0)
        for number, part in enumerate(parts):
            gradients: Sequence[Tensor | None] = (None,) * len(parameters)
            if part:
                total = torch.stack(part).sum()
                gradients = torch.autograd.grad(total, parameters, retain_graph=number < last, allow_unused=True)
            self._gradients[number] = {p: g for p, g in zip(parameters, gradients, strict=True) if g is not None}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step with the gradients that were collected, which are used up.

        Raises:
            InputError: a closure, which could give one gradient alone.
        """
        if closure is not None:
            raise InputError(f"optimizer {self.name}: takes no closure: call collect(losses), then step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                self._move(parameter, group["lr"], group["weight_decay"])
        self._gradients = [{} for _ in self.momenta]

    def _move(self, parameter: Tensor, rate: float, weight_decay: float) -> None:
        parts = [gradients.get(parameter) for gradients in self._gradients]
        sources = [number for number, gradient in enumerate(parts) if gradient is not None]
        decayed = self.decayed if self.decayed in sources else min(sources, default=None)
        momenta = self.momenta if len(sources) == len(parts) else [self.momentum] * len(parts)
        steps = []
        for number, gradient in enumerate(parts):
            if gradient is None:
                continue
            whole = gradient.add(parameter, alpha=weight_decay) if number == decayed and weight_decay else gradient
            state, name = self.state[parameter], f"momentum_{number}"
            state[name] = state[name].mul_(momenta[number]).add_(whole) if name in state else whole.clone()
            steps.append(state[name])
        for step in steps:
            parameter.add_(step, alpha=-rate)
