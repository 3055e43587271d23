"""What a student answers on the images that a comparison measures on, kept in its run's folder."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from preceptor.context import UNLABELED, predicted_class
from preceptor.data import Dataset, ImageSet
from preceptor.errors import InputError
from preceptor.files import write_whole
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student
from preceptor.run.config import RunConfig
from preceptor.run.set_up import split

ANSWERS_FILE = "answers.safetensors"

_FORMAT = "preceptor-answers"
_TYPES = {"predicted": torch.int64, "confidence": torch.float32, "nll": torch.float32}


@dataclass(frozen=True)
class Answers:
    """A student's answers, one a labeled image.

    Attributes:
        predicted: the classes of its largest logits.
        confidence: their probabilities among the classes, also of a student that may abstain.
        nll: negative log-likelihood of the label, in nats.
        facts: other numbers of the run, such as its peak memory in bytes.
    """

    predicted: Int[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    nll: Float[Tensor, " n"]
    facts: Mapping[str, int]


@dataclass(frozen=True)
class MeasuredImages:
    """The images that a comparison measures on.

    Attributes:
        images: labeled ones, on the CPU.
        index: their positions in the training set; None of a test set.
    """

    images: ImageSet
    index: Int[Tensor, " n"] | None

    @property
    def name(self) -> str:
        """What they are."""
        return "test set" if self.index is None else "held-out training images"


def measured_images(config: RunConfig, dataset: Dataset) -> MeasuredImages:
    """The labeled images of the test set; without one, those that a run holds out.

    Raises:
        InputError: neither has a label.
    """
    images, index = dataset.test, None
    if images is None:
        _, index = split(config, dataset)
        images = dataset.train_and_validation().take(index)
    labeled = images.labels != UNLABELED
    if not bool(labeled.any()):
        raise InputError(
            f"{config.data}: no labeled image to measure on: give a test set, or a validation share above 0"
        )
    kept = labeled.nonzero().flatten()
    return MeasuredImages(images.take(kept), None if index is None else index[kept])


def write_answers(folder: Path, measured: MeasuredImages, device: torch.device) -> None:
    """Ask the student of a complete run, and keep what it answers in the run's folder."""
    network, card = load_student(folder)
    images = measured.images
    outputs = network_logits(network.to(device), card.normalization(), images.images.to(device)).float()
    logits = outputs[:, : card.classes]
    log_probs = logits.double().log_softmax(dim=1)
    tensors = {
        "predicted": predicted_class(logits),
        "confidence": log_probs.amax(dim=1).exp(),
        "nll": -log_probs.gather(1, images.labels[:, None]).squeeze(1),
    }
    facts = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "peak_memory": _peak_memory(device),
    }
    content = save(
        {name: one.to(_TYPES[name]).contiguous() for name, one in tensors.items()}, {_FORMAT: json.dumps(facts)}
    )
    write_whole({folder / ANSWERS_FILE: content})


def read_answers(folder: Path, count: int) -> Answers | None:
    """The answers of a run on so many images; None where they are missing, damaged or of others."""
    try:
        with safe_open(folder / ANSWERS_FILE, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_FORMAT])
            tensors = {name: file.get_tensor(name) for name in _TYPES}
    except Exception:  # whatever is wrong with it, the student can be asked again
        return None
    if any(tensor.shape != (count,) for tensor in tensors.values()) or not isinstance(facts, dict):
        return None
    return Answers(**tensors, facts=facts)


def _peak_memory(device: torch.device) -> int:
    """Bytes that this process held at most: on the GPU, or in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
