"""Image classifiers of Hugging Face (extra ``transformers``), from a local folder or the hub's cache."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.extras import import_extra
from preceptor.files import read_json
from preceptor.models.bridge import pretrained_files
from preceptor.models.family import Weights, model_family
from preceptor.models.network_input import NetworkInput, for_channels

_BILINEAR = 2
"""Pillow's number for it, which image processors state."""


@model_family("hf:{NAME}", examples=("hf:google/vit-base-patch16-224",), has_pretrained=True)
def hf_model(name: str, channels: int, classes: int, weights: Weights = "random", download: bool = False) -> nn.Module:
    """A network of ``AutoModelForImageClassification``; no code that lies beside its weights is run.

    Args:
        name: a folder with its ``config.json``, or a model of the hub.
        channels, classes, weights, download: as of ``build_model``; without ``download`` a model of the hub is taken
            from the hub's cache, its configuration too.

    Raises:
        InputError: there is no such model in the cache or folder, or it is no image classifier.
        MachineError: transformers is not installed, or cannot be loaded.
    """
    transformers = _transformers()
    config = _config(name, download)
    config.num_labels = classes
    if hasattr(config, "num_channels"):
        config.num_channels = channels
    auto = transformers.AutoModelForImageClassification
    with pretrained_files(f"hf:{name}", download), _silence():
        if weights != "pretrained":
            return auto.from_config(config, trust_remote_code=False)  # type: ignore[no-any-return]
        model: nn.Module = auto.from_pretrained(
            name,
            config=config,
            ignore_mismatched_sizes=True,
            local_files_only=not download,
            trust_remote_code=False,
            dtype=torch.float32,
        )
        return model


def hf_input(name: str, channels: int, download: bool) -> NetworkInput:
    """What the weights of a name take, by their ``config.json`` and ``preprocessor_config.json``."""
    config, processor = _config(name, download), _processor(name, download)
    size = _sides(processor.get("crop_size") or processor.get("size") or getattr(config, "image_size", None))
    scaled = _sides(processor.get("size"))
    crop = float(processor.get("crop_pct") or (size[0] / scaled[0] if size and scaled else 1.0))
    names = getattr(config, "id2label", None) or {}
    return NetworkInput(
        _normalization(processor, channels),
        size,
        "bilinear" if processor.get("resample", _BILINEAR) == _BILINEAR else "bicubic",
        min(1.0, crop),
        tuple(str(names[place]) for place in sorted(names)) or None,
    )


def _normalization(processor: dict[str, Any], channels: int) -> Any:
    if not processor:
        return None
    # Pixels of 0 to 255 are multiplied by a factor first; ours are in [0, 1].
    factor = 255 * float(processor.get("rescale_factor", 1 / 255)) if processor.get("do_rescale", True) else 255.0
    if not processor.get("do_normalize", True):
        return for_channels((0.0,), (1 / factor,), channels)
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if not isinstance(mean, list) or not isinstance(std, list):
        return None
    return for_channels(tuple(value / factor for value in mean), tuple(value / factor for value in std), channels)


def _sides(size: Any) -> tuple[int, int] | None:
    """Height and width, however a processor states them."""
    if isinstance(size, dict):
        short = size.get("shortest_edge")
        size = (size.get("height", short), size.get("width", short))
    if isinstance(size, int):
        size = (size, size)
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return None


def _config(name: str, download: bool) -> Any:
    with pretrained_files(f"hf:{name}", download), _silence():
        return _transformers().AutoConfig.from_pretrained(name, local_files_only=not download, trust_remote_code=False)


def _processor(name: str, download: bool) -> dict[str, Any]:
    """The settings of a model's image processor; empty without any."""
    path = Path(name) / "preprocessor_config.json"
    if not Path(name).is_dir():
        hub = importlib.import_module("huggingface_hub")
        try:
            path = Path(hub.hf_hub_download(name, path.name, local_files_only=not download))
        except Exception:  # some models have none, and the hub raises nearly anything
            return {}
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


@contextmanager
def _silence() -> Iterator[None]:
    """Without the library's progress bars and its table of weights that were loaded."""
    log = importlib.import_module("transformers.utils.logging")
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.ERROR)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _transformers() -> Any:
    # What it needs is imported there.
    import_extra("transformers.modeling_utils", "transformers", "a model of Hugging Face")
    return importlib.import_module("transformers")
