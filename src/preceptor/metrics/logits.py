"""A network's logits over many images."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.chunking import concat_rows
from preceptor.data.dataset import Normalizer
from preceptor.data.lazy import Inputs
from preceptor.models.features import call_model
from preceptor.models.layout import to_memory_format


@torch.no_grad()
def network_logits(
    network: nn.Module,
    normalize: Normalizer,
    images: Inputs,
    *,
    batch_size: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "n outputs"]:
    """Logits in float32 on the CPU; the network, on the images' device, is put in eval mode and left as it was.

    ``progress`` is called after every batch of 512 images by default with the number of images done, and of all.
    """

    def outputs() -> Iterator[Tensor]:
        done = 0
        for part in images.split(batch_size):
            logits = call_model(network, to_memory_format(normalize(part))).float().cpu()
            done += len(logits)
            if progress is not None:
                progress(done, len(images))
            yield logits

    training = [module for module in network.modules() if module.training]  # frozen parts are not
    network.eval()
    try:
        return concat_rows(outputs(), len(images))
    finally:
        for module in training:
            module.training = True
