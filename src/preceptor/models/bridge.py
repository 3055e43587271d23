"""Classifiers from timm and torchvision (extra ``vision``), imported when one is built."""

import importlib
import importlib.util
from collections.abc import Iterable
from difflib import get_close_matches
from types import ModuleType

import torch
from torch import nn

from preceptor.errors import InputError, MachineError
from preceptor.models.family import model_family

_WITH_AUXILIARY_HEADS = {"googlenet", "inception_v3"}
"""torchvision's models that return a tuple in training unless told not to."""


@model_family("timm:{NAME}", examples=("timm:resnet18",))
def timm_model(name: str, channels: int, classes: int) -> nn.Module:
    """A classifier of timm, with random weights.

    Raises:
        InputError: timm has no such model, or the name is one of pretrained weights.
        MachineError: timm is not installed, or cannot be loaded.
    """
    timm = _library("timm")
    architecture, _, weights = name.partition(".")
    if weights and timm.is_model(architecture):
        raise InputError(
            f"model 'timm:{name}': {weights!r} names pretrained weights, and training starts from random ones; "
            f"use timm:{architecture}"
        )
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
    return model


@model_family("torchvision:{NAME}", examples=("torchvision:resnet18",))
def torchvision_model(name: str, channels: int, classes: int) -> nn.Module:
    """A classifier of torchvision, with random weights. It takes images of three channels.

    Raises:
        InputError: torchvision has no such classifier, or the images do not have three channels.
        MachineError: torchvision is not installed, or cannot be loaded.
    """
    if channels != 3:
        raise InputError(
            f"model 'torchvision:{name}' takes images of 3 channels, these have {channels}: "
            f"use a model of timm (timm:NAME) or one of Preceptor's own, such as resnet20"
        )
    models = _library("torchvision").models
    known = models.list_models(module=models)  # without 'module' it lists detection and segmentation as well
    if name not in known:
        raise _unknown("torchvision", name, known)
    extra = {"aux_logits": False, "init_weights": True} if name in _WITH_AUXILIARY_HEADS else {}
    model: nn.Module = models.get_model(name, weights=None, num_classes=classes, **extra)
    return model


def _library(name: str) -> ModuleType:
    """Import timm or torchvision. One that does not fit the installed torch fails with a RuntimeError."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        if importlib.util.find_spec(name) is None:
            raise MachineError(f"{name} is not installed: pip install 'preceptor[vision]'") from error
        reason = " ".join(str(error).split())
        raise MachineError(
            f"{name} is installed but cannot be loaded ({reason}): "
            f"install the torchvision build that matches torch {torch.__version__}"
        ) from error


def _unknown(library: str, name: str, known: Iterable[str]) -> InputError:
    # Unlike errors.unknown_name it does not list the thousand known names.
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"{library}.list_models() lists them"
    return InputError(f"unknown model '{library}:{name}': {hint}")
