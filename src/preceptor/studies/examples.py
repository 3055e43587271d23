"""The images on which a teacher was most confidently wrong."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.loss import DistillationLoss
from preceptor.registry import registered_name
from preceptor.studies.result import ExampleImage


def surest_mistakes(
    losses: Iterable[DistillationLoss],
    images: UInt8[Tensor, "n channels height width"],
    said: Float[Tensor, "n classes"],
    truth: Int[Tensor, " n"],
    *,
    most: int,
    teacher: str,
) -> list[ExampleImage]:
    """The images on which the teacher is most confidently wrong, with what each correction makes of its word.

    Args:
        chains: whose corrections to show, each kind once; on the CPU.
        images: 0 to 255.
        said: the teacher's logits.
        truth: the right labels.
        most: how many at most.
        teacher: the name of its kind.
    """
    log_probs = said.log_softmax(dim=1)
    teacher_class = predicted_class(said)
    wrong = teacher_class != truth
    confidence = log_probs.amax(dim=1).masked_fill(~wrong, -torch.inf)
    chosen = confidence.argsort(descending=True, stable=True)[: min(most, int(wrong.sum()))]
    corrections = {registered_name(loss.correction): loss.correction for loss in losses if loss.correction is not None}
    targets = {
        name: correct(log_probs[chosen], truth[chosen], teacher_class[chosen]).exp().tolist()
        for name, correct in corrections.items()
    }
    pixels = images[chosen.to(images.device)].cpu().permute(0, 2, 3, 1).squeeze(-1).numpy()
    return [
        ExampleImage(
            pixels=pixels[place],
            truth=int(truth[position]),
            said=log_probs[position].exp().tolist(),
            targets={name: rows[place] for name, rows in targets.items()},
            teacher=teacher,
        )
        for place, position in enumerate(chosen.tolist())
    ]
