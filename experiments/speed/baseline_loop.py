"""The baseline loop: the same distillation step as ours, by the usual means.

Modeled on the loops of RepDistiller, mdistiller and its forks: images go one by one through PIL in two worker
processes, networks are fp32, channels first and eager, the teacher sees every batch, and loss and accuracies are read
from the device in every step. Where in doubt it has the advantage: its workers are kept and the first batch of a round
is not timed, where those loops start new workers in every epoch.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from experiments.speed.cases import AUGMENTATION, Case, RandomData
from experiments.speed.machine import seconds_for
from preceptor.data import CropFlip, Normalization
from preceptor.training import TrainingConfig

WORKERS = 2
TEMPERATURE = 4.0
LABEL_WEIGHT, TEACHER_WEIGHT = 0.1, 0.9


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """Images as PIL images, cropped, flipped, turned into a tensor and normalized one at a time."""

    def __init__(self, data: RandomData, normalization: Normalization, augmentation: CropFlip) -> None:
        chosen = data.train.take(data.index)
        self._pixels = chosen.images.permute(0, 2, 3, 1).numpy()
        self._labels = chosen.labels.tolist()
        self._mean, self._std = (
            torch.tensor(values).view(-1, 1, 1) for values in (normalization.mean, normalization.std)
        )
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image in a random view, and its label."""
        from PIL import Image, ImageOps

        pixels, padding = self._pixels[index], self._augmentation.padding
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        width, height = image.size
        padded = ImageOps.expand(image, border=padding, fill=0)
        left, top = (int(torch.randint(2 * padding + 1, (1,))) for _ in range(2))
        image = padded.crop((left, top, left + width, top + height))
        if self._augmentation.flip and float(torch.rand(1)) < 0.5:
            image = ImageOps.mirror(image)
        return (_as_tensor(image) - self._mean) / self._std, self._labels[index]


def _as_tensor(image: object) -> Float[Tensor, "channels height width"]:
    """Channels first, from 0 to 1."""
    import numpy as np

    pixels = torch.from_numpy(np.array(image))
    channels_last = pixels[:, :, None] if pixels.dim() == 2 else pixels
    return channels_last.permute(2, 0, 1).contiguous().float().div(255)


class BaselineLoop:
    """The baseline loop on a case.

    Args:
        case: what to measure.
        data: of the case.
        teacher, student: networks of the case; the student is trained.
        device: where they run.
        workers: processes that prepare images.
    """

    def __init__(
        self,
        case: Case,
        data: RandomData,
        teacher: nn.Module,
        student: nn.Module,
        device: torch.device,
        workers: int = WORKERS,
    ) -> None:
        self._device = device
        self._teacher, self._student = teacher.to(device).eval(), student.to(device).train()
        training = TrainingConfig()
        self._optimizer = torch.optim.SGD(
            student.parameters(),
            lr=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
        self._loader = DataLoader(
            AugmentedImages(data, case.pair.normalization, AUGMENTATION),
            batch_size=case.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self.precision, self.warnings = "fp32", list[str]()
        self.meters: dict[str, float] = {}

    def round(self) -> float:
        """Seconds for the steps of a round; a step before it, not timed, starts the workers."""
        batches = iter(self._loader)
        with _benchmarking():
            self._step(*next(batches))
            return seconds_for(lambda: self._steps(batches), self._device)

    def close(self) -> None:
        """End the workers."""
        del self._loader

    def _steps(self, batches: Iterator[list[Tensor]]) -> None:
        for images, label in batches:
            self._step(images, label)

    def _step(self, images: Tensor, label: Tensor) -> None:
        images, label = images.to(self._device, non_blocking=True), label.to(self._device, non_blocking=True)
        logits = self._student(images)
        with torch.no_grad():
            teacher_logits = self._teacher(images)
        loss = LABEL_WEIGHT * functional.cross_entropy(logits, label)
        loss = loss + TEACHER_WEIGHT * distillation_loss(logits, teacher_logits, TEMPERATURE)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.meters = {"loss": loss.item(), **top_accuracies(logits, label)}


def distillation_loss(
    student_logits: Float[Tensor, "batch classes"], teacher_logits: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, ""]:
    """``T^2 KL(softmax(t / T), softmax(z / T))``, mean over the batch."""
    log_probs = functional.log_softmax(student_logits / temperature, dim=1)
    target = functional.softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(log_probs, target, reduction="batchmean") * temperature**2


def top_accuracies(
    logits: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"], ranks: tuple[int, ...] = (1, 5)
) -> dict[str, float]:
    """Per cent of the batch whose label is among the top classes, read from the device."""
    hits = logits.topk(min(max(ranks), logits.shape[1]), dim=1).indices == label[:, None]
    return {f"top-{rank}": 100 * hits[:, :rank].any(dim=1).float().mean().item() for rank in ranks}


@contextmanager
def _benchmarking() -> Iterator[None]:
    """cuDNN may time its algorithms, as in the loops this one is modeled on."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
