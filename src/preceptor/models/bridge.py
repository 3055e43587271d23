"""Classifiers from timm and torchvision (extra ``vision``), imported when one is built."""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.data import Normalization
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.extras import import_extra
from preceptor.models.family import Weights, model_family
from preceptor.models.network_input import NetworkInput, for_channels
from preceptor.models.weights import load_weights

_WITH_AUXILIARY_HEADS = {"googlenet", "inception_v3"}
"""torchvision's models that return a tuple in training unless told not to. Their weights are of another normalization
than torchvision states: it has the network convert the images."""

_IMAGENET_CLASSES = 1000


@model_family("timm:{NAME}", examples=("timm:resnet18",), has_pretrained=True)
def timm_model(
    name: str, channels: int, classes: int, weights: Weights = "random", download: bool = False
) -> nn.Module:
    """A classifier of timm.

    Raises:
        InputError: timm has no such model or weights, the cache lacks them, or the name is one of pretrained weights
            where random ones are asked for.
        MachineError: timm is not installed, or cannot be loaded.
    """
    timm = import_extra("timm", "vision", "a model of timm")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise _unknown("timm", name, timm.list_models())
    if tag and weights == "random":
        raise InputError(
            f"model 'timm:{name}': {tag!r} names pretrained weights: give --pretrained to start from them, or use "
            f"timm:{architecture} for random ones"
        )
    options = {"num_classes": classes, "in_chans": channels}
    if weights != "pretrained":
        if tag:
            _timm_settings(name)  # of an unknown one timm's own error is no help
        return timm.create_model(name, pretrained=False, **options)  # type: ignore[no-any-return]
    settings = _timm_settings(name)
    url = None if settings.hf_hub_id else settings.url
    if not download and url and not _of_torch_hub(url).is_file():
        raise _not_cached(f"timm:{name}")
    with pretrained_files(f"timm:{name}", download):
        return timm.create_model(name, pretrained=True, **options)  # type: ignore[no-any-return]


def timm_input(name: str, channels: int) -> NetworkInput:
    """What the pretrained weights of a name take, by timm's own settings."""
    timm = import_extra("timm", "vision", "a model of timm")
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    settings = _timm_settings(name)
    names = None
    if settings.num_classes == _IMAGENET_CLASSES:
        info = importlib.import_module("timm.data").ImageNetInfo("imagenet-1k")
        places = range(_IMAGENET_CLASSES)
        names = tuple(f"{info.index_to_label_name(n)}, {info.index_to_description(n)}" for n in places)
    return NetworkInput(
        for_channels(settings.mean, settings.std, channels),
        tuple(settings.input_size[1:]),
        "bilinear" if settings.interpolation == "bilinear" else "bicubic",
        float(settings.crop_pct),
        names,
    )


@model_family("torchvision:{NAME}", examples=("torchvision:resnet18",), has_pretrained=True)
def torchvision_model(
    name: str, channels: int, classes: int, weights: Weights = "random", download: bool = False
) -> nn.Module:
    """A classifier of torchvision. It takes images of three channels.

    Raises:
        InputError: torchvision has no such classifier or weights, the cache lacks them, or the images do not have three
            channels.
        MachineError: torchvision is not installed, or cannot be loaded.
    """
    if channels != 3:
        raise InputError(
            f"model 'torchvision:{name}' takes images of 3 channels, these have {channels}: "
            f"use a model of timm (timm:NAME) or one of Preceptor's own, such as resnet20"
        )
    models = _torchvision_models(name)
    extra = {"aux_logits": False, "init_weights": True} if name in _WITH_AUXILIARY_HEADS else {}
    model: nn.Module = models.get_model(name, weights=None, num_classes=classes, **extra)
    if weights == "pretrained":
        stated = _torchvision_weights(models, name)
        path = _of_torch_hub(stated.url)
        if not download and not path.is_file():
            raise _not_cached(f"torchvision:{name}")
        with pretrained_files(f"torchvision:{name}", download):
            if download:
                stated.get_state_dict(check_hash=True, progress=False)
            load_weights(model, path)
    return model


def torchvision_input(name: str) -> NetworkInput:
    """What the default weights of a name take, by torchvision's own transforms."""
    models = _torchvision_models(name)
    stated = _torchvision_weights(models, name)
    transforms = stated.transforms()
    own = Normalization(tuple(transforms.mean), tuple(transforms.std))
    size = (transforms.crop_size * 2)[:2]
    return NetworkInput(
        Normalization((0.5,) * 3, (0.5,) * 3) if name in _WITH_AUXILIARY_HEADS else own,
        (int(size[0]), int(size[1])),
        "bicubic" if transforms.interpolation.value == "bicubic" else "bilinear",
        min(1.0, transforms.crop_size[0] / transforms.resize_size[0]),
        tuple(stated.meta["categories"]),
    )


@contextmanager
def pretrained_files(name: str, download: bool) -> Iterator[None]:
    """Within it a library takes pretrained weights; from its cache alone unless they may be downloaded.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not download
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # timm, torchvision and the hub raise nearly anything
        if out_of_memory(error):
            raise
        if not download:
            raise _not_cached(name, f" ({first_line(error)})") from error
        raise InputError(f"model {name!r}: no pretrained weights: {first_line(error)}") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _not_cached(name: str, reason: str = "") -> InputError:
    return InputError(
        f"model {name!r}: its pretrained weights are not in the library's cache{reason}: fetch them with --download, "
        "or give a file of them (--student-weights, --teacher-weights)"
    )


def _timm_settings(name: str) -> Any:
    """timm's settings of the weights of a name; those of random ones for an architecture that has none."""
    models = importlib.import_module("timm.models")
    try:
        return models.get_pretrained_cfg(name) or importlib.import_module("timm.models._pretrained").PretrainedCfg()
    except RuntimeError as error:
        architecture, _, tag = name.partition(".")
        known = [one.partition(".")[2] for one in models.list_pretrained(f"{architecture}.*")]
        near = get_close_matches(tag, known, n=3, cutoff=0.0)
        raise InputError(
            f"model 'timm:{name}': {architecture} has no weights {tag!r}: there are {', '.join(near) or 'none'}"
        ) from error


def _torchvision_models(name: str) -> Any:
    models = import_extra("torchvision", "vision", "a model of torchvision").models
    known = models.list_models(module=models)  # without 'module' it lists detection and segmentation as well
    if name not in known:
        raise _unknown("torchvision", name, known)
    return models


def _torchvision_weights(models: Any, name: str) -> Any:
    return models.get_model_weights(name).DEFAULT


def _of_torch_hub(url: str) -> Path:
    """Where torch's hub puts a file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _unknown(library: str, name: str, known: Iterable[str]) -> InputError:
    # Unlike errors.unknown_name it does not list the thousand known names.
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"{library}.list_models() lists them"
    return InputError(f"unknown model '{library}:{name}': {hint}")
