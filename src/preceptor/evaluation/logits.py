"""A network's logits over many images."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from preceptor.blocks import gathered
from preceptor.data import Normalisation
from preceptor.models.layout import in_fast_layout


@torch.no_grad()
def network_logits(
    network: nn.Module,
    normalise: Normalisation,
    images: UInt8[Tensor, "n channels height width"],
    *,
    batch_size: int = 512,
) -> Float[Tensor, "n outputs"]:
    """Logits in float32 on the CPU; the network is put in eval mode for it and left as it was.

    Args:
        network: on the device of the images.
        normalise: the network's normalisation.
        images: 0 to 255.
        batch_size: images at a time.
    """
    training = network.training
    network.eval()
    try:
        parts = (network(in_fast_layout(normalise(part))).float().cpu() for part in images.split(batch_size))
        return gathered(parts, len(images))
    finally:
        network.train(training)
