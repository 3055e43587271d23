"""First-order influence: alignment of a sample's gradient with the gradient of the held-out samples."""

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import SelectionData
from preceptor.registry import register
from preceptor.selections.last_layer import LastLayer, gradient_norms, gradient_products, held_out_gradient
from preceptor.selections.ranked import RankedSelection


@register("selection", "tracin", paper="Pruthi et al., 2020, arXiv:2002.08484 (TracInCP, last layer)")
class TracIn(RankedSelection):
    """Distill the samples whose training steps lowered the held-out loss, summed over checkpoints of the teacher.

    ``score_i = sum over checkpoints of learning_rate * g_val . g_i``, gradients of the last layer at that checkpoint.
    With the teacher as the only checkpoint it ranks by one product of gradients.
    """

    needs_features: bool = True
    needs_held_out: bool = True
    needs_checkpoints: bool = True

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        products = []
        for checkpoint in selection_data.checkpoints:
            train = LastLayer(checkpoint.train, selection_data.label, selection_data.has_bias)
            direction = held_out_gradient(selection_data, checkpoint)
            products.append(checkpoint.learning_rate * gradient_products(train, direction))
        return torch.stack(products).sum(dim=0)


@register(
    "selection",
    "gradient_cosine",
    paper="control: TracIn (Pruthi et al., 2020, arXiv:2002.08484) at the last checkpoint, without the lengths",
)
class GradientCosine(RankedSelection):
    """Distill the samples whose gradient points in the direction of the held-out gradient, whatever its length.

    ``score_i = g_val . g_i / (|g_val| |g_i|)``, from -1 to 1, in the teacher's last layer; 0 where a gradient is 0.
    """

    needs_features: bool = True
    needs_held_out: bool = True

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        train = LastLayer(selection_data.teacher.train, selection_data.label, selection_data.has_bias)
        direction = held_out_gradient(selection_data, selection_data.teacher)
        lengths = gradient_norms(train) * direction.norm()
        return torch.where(lengths > 0, gradient_products(train, direction) / lengths, 0)
