"""Predictions of a student for images without labels, batch by batch."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from preceptor.data.images import MOST_PIXELS, ImageSpec
from preceptor.data.sources import ImageItem, open_image_source
from preceptor.errors import InputError
from preceptor.metrics import Predictions, confidence
from preceptor.metrics.decisions import at_decision, check_servable, which_classes
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student
from preceptor.models.store import CARD_FILE
from preceptor.training.device import choose_device

BATCH_SIZE = 256
TOP_K = 5


@dataclass(frozen=True)
class Prediction:
    """The student's prediction for one image.

    Attributes:
        input: name of the file, or of the array's.
        index: index in the array, from 0; None for a file.
        label: its answer; None where it abstains, and where there is an error.
        probability: of the likeliest class, answered or not; softmax over the classes.
        abstained: whether it abstains; None where it was not calibrated to.
        score: its confidence, by the score that it abstains by.
        top: the likeliest classes with their probabilities, the first of them answered or not.
        set: the classes of its prediction set, the likeliest first; None where it was not calibrated to give one.
        error: why there is no answer; None where there is one. All else is then None or empty.
    """

    input: str
    index: int | None
    label: str | None = None
    probability: float | None = None
    abstained: bool | None = None
    score: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    set: tuple[str, ...] | None = None
    error: str | None = None


@dataclass(frozen=True)
class _BatchPredictions:
    """Of a batch, one entry an image; classes as numbers, the likeliest first."""

    top: list[list[int]]
    probabilities: list[list[float]]
    score: list[float]
    answered: list[bool] | None
    sets: list[list[int]] | None
    finite: list[bool]


class Predictor:
    """A student, ready to predict.

    Args:
        folder: of its run.
        score: by which its confidence is shown. Default: that of its decision, else "softmax_response".
        options: of the score.
        top_k: how many classes to name of each image. Default 5.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: no whole student, a score that it cannot compute, another score than that of its decision, or top_k
            below 1.
        MachineError: no such device.
    """

    def __init__(
        self,
        folder: Path,
        *,
        score: str | None = None,
        options: Mapping[str, float] | None = None,
        top_k: int = TOP_K,
        device: str = "auto",
    ) -> None:
        if top_k < 1:
            raise InputError(f"top-k is {top_k}; expected at least 1")
        self._device = choose_device(device)
        network, self.card = load_student(folder)
        self._network = network.to(self._device)
        self.top_k = min(top_k, self.card.classes)
        decision = self.card.decision
        if decision is not None and (score is not None or options):
            other = score or "another score"
            raise InputError(f"{folder} abstains by {decision.score}: leave out --score, or calibrate it by {other}")
        self.score = score or ("softmax_response" if decision is None else decision.score)
        self._options = dict(options or {}) if decision is None else decision.options
        self._check_score(folder)

    @property
    def form(self) -> ImageSpec:
        """What images are brought to."""
        return ImageSpec(self.card.channels, *self.card.image_size)

    def predictions(self, pictures: Iterable[ImageItem], batch_size: int = BATCH_SIZE) -> Iterator[Prediction]:
        """One for each image, in order; a batch is in memory at a time, fewer images where they are large.

        Raises:
            InputError: a batch size below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch size is {batch_size}; expected at least 1")
        left = iter(pictures)
        at_once = min(batch_size, max(1, MOST_PIXELS // math.prod(self.card.image_size)))
        batches = iter(lambda: list(islice(left, at_once)), [])
        return (prediction for batch in batches for prediction in self._of_batch(batch))

    def _check_score(self, folder: Path) -> None:
        """Compute the score of a made-up image, so that one that cannot be is refused before any image is read."""
        made_up = Predictions(torch.arange(self.card.outputs).float()[None], self.card.abstains)
        try:
            check_servable(self.score)
            confidence(self.score, made_up, **self._options)
        except InputError as error:
            raise error if self.card.decision is None else InputError(f"{folder / CARD_FILE}: {error}") from error

    def _of_batch(self, pictures: Sequence[ImageItem]) -> Iterator[Prediction]:
        usable = [picture.pixels for picture in pictures if picture.pixels is not None]
        predictions = self._predict(torch.stack(usable)) if usable else None
        row = 0
        for picture in pictures:
            if picture.pixels is None or predictions is None:
                yield Prediction(picture.name, picture.index, error=picture.error)
            else:
                yield self._prediction(picture, predictions, row)
                row += 1

    def _predict(self, images: UInt8[Tensor, "batch channels height width"]) -> _BatchPredictions:
        card = self.card
        outputs = network_logits(self._network, card.normalization(), images.to(self._device))
        finite = outputs.isfinite().all(dim=1)
        known = Predictions(outputs.where(finite[:, None], torch.zeros(())), card.abstains)
        score = confidence(self.score, known, **self._options)
        ranking = known.class_logits.sort(dim=1, descending=True, stable=True).indices
        top = ranking[:, : self.top_k]
        answered = None if card.decision is None else at_decision(card.decision, score, known.prediction).tolist()
        sets = None
        if card.sets is not None:
            inside = which_classes(card.sets, known.class_logits).gather(1, ranking)
            sets = [row[chosen].tolist() for row, chosen in zip(ranking, inside, strict=True)]
        probabilities = known.class_logits.double().softmax(dim=1).gather(1, top)
        return _BatchPredictions(top.tolist(), probabilities.tolist(), score.tolist(), answered, sets, finite.tolist())

    def _prediction(self, picture: ImageItem, batch: _BatchPredictions, row: int) -> Prediction:
        if not batch.finite[row]:
            return Prediction(picture.name, picture.index, error="the student's logits are not finite")
        names, top, probabilities = self.card.class_names, batch.top[row], batch.probabilities[row]
        abstained = None if batch.answered is None else not batch.answered[row]
        return Prediction(
            input=picture.name,
            index=picture.index,
            label=None if abstained else names[top[0]],
            probability=probabilities[0],
            abstained=abstained,
            score=batch.score[row],
            top=tuple((names[place], value) for place, value in zip(top, probabilities, strict=True)),
            set=None if batch.sets is None else tuple(names[place] for place in batch.sets[row]),
        )


def predict(
    folder: Path,
    inputs: Sequence[Path],
    *,
    score: str | None = None,
    options: Mapping[str, float] | None = None,
    top_k: int = TOP_K,
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
) -> Iterator[Prediction]:
    """Predictions of a student for images, one after the other; a batch is in memory at a time.

    Args:
        folder: of its run.
        inputs: image files, folders of images, ``.npy`` and ``.npz`` files; see
            :func:`preceptor.data.sources.open_image_source`.
        score, options, top_k, device: as for :class:`Predictor`.
        batch_size: images at a time. Default 256.

    Returns:
        a prediction for each image in order; of one that cannot be read, its ``error``.

    Raises:
        InputError: as :class:`Predictor` and :func:`~preceptor.data.sources.open_image_source`, before any prediction.
        MachineError: no such device.
    """
    predictor = Predictor(folder, score=score, options=options, top_k=top_k, device=device)
    sources = [open_image_source(path) for path in inputs]
    pictures = (picture for source in sources for picture in source.images(predictor.form))
    return predictor.predictions(pictures, batch_size)
