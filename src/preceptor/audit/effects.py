"""What each correction, temperature and selection would do to a teacher's outputs, before anything is trained."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.audit.verdicts import Verdicts
from preceptor.context import VERDICTS
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.loss_output import Audit
from preceptor.losses import KL
from preceptor.registry import ComponentInfo, build_component, components
from preceptor.temperatures import Fixed

TEMPERATURE = 4.0
"""At which corrections are compared: the one of most recipes."""

SHOWN = 20
"""Positions named of the samples that a component changes most."""


@dataclass(frozen=True)
class Effect:
    """What one component does, with its default options.

    Attributes:
        kind: "correction", "temperature" or "selection".
        name: of the component.
        samples: how many it changes; of a selection how many it leaves out.
        change: of a correction, the probability it moves on these, mean total variation distance, 0 to 1; of a
            temperature its mean; of a selection None.
        label_wrong: how many of these samples have a label that is probably the wrong one.
        most: positions of those changed most, the most changed first.
    """

    kind: str
    name: str
    samples: int
    change: float | None
    label_wrong: int
    most: tuple[int, ...]


def effects(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], verdicts: Verdicts) -> list[Effect]:
    """The effects of every registered component that needs no fit, beside a student that knows nothing yet.

    Args:
        logits: of the teacher.
        labels: given; -1 where there is none.
        verdicts: on the disagreements.
    """
    wrong_label = torch.zeros(len(labels), dtype=torch.bool)
    wrong_label[verdicts.index[verdicts.at("likely") == VERDICTS.index("wrong_label")]] = True
    seen = []
    for kind in ("correction", "temperature", "selection"):
        for info in components(kind):
            loss = _loss(info)
            if loss is not None and not loss.needs_fit:
                index = torch.arange(len(labels))
                audit = loss(torch.zeros_like(logits), logits, labels, index=index).audit
                seen.append(_effect(info, audit, wrong_label))
    return seen


def _loss(info: ComponentInfo) -> DistillationLoss | None:
    """A loss of this component alone; None where it has options without a default."""
    try:
        component = build_component(info.kind, info.name)
    except InputError:
        return None
    parts = {"temperature": Fixed(TEMPERATURE), info.kind: component, "loss": KL()}
    return DistillationLoss(**parts)


def _effect(info: ComponentInfo, audit: Audit, wrong_label: Tensor) -> Effect:
    if info.kind == "correction":
        size, changed = audit.change, audit.corrected & (audit.change > 0)
        amount = float(size[changed].mean()) if bool(changed.any()) else 0.0
    elif info.kind == "temperature":
        temperature = torch.as_tensor(audit.temperature).float().expand(len(wrong_label))
        size, amount = temperature, float(temperature.mean())
        changed = temperature != temperature.median()
    else:
        size, changed, amount = 1 - audit.weight, audit.weight < 1, None
    order = size.masked_fill(~changed, -torch.inf).argsort(descending=True, stable=True)
    return Effect(
        kind=info.kind,
        name=info.name,
        samples=int(changed.sum()),
        change=amount,
        label_wrong=int((changed & wrong_label).sum()),
        most=tuple(order[: min(SHOWN, int(changed.sum()))].tolist()),
    )
