"""torchvision, and with it timm, beside a torch for CPUs, into which torchvision's compiled extension does not load."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torchvision_ops() -> Iterator[None]:
    """Within it torchvision can be imported; where it can anyway, nothing is done.

    Only once the real import has failed: of a torchvision that works the operators would be defined twice.
    """
    library = None
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield
    del library  # kept until here: the definitions end with it
