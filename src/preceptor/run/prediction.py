"""Predictions of a student for images without labels, batch by batch."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path

import torch

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
        index: in the array, from 0; None for a file.
        label: None where it abstains, and where there is an error.
        probability: of the likeliest class, answered or not; softmax over the classes.
        abstained: None where it was not calibrated to.
        score: its confidence, by the score that it abstains by.
        top: the likeliest classes with their probabilities, the first of them answered or not.
        set: the classes of its prediction set, the likeliest first; None where it was not calibrated to give one.
        error: why there is no answer; all but input and index is then None or empty.
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


class Predictor:
    """A student, ready to predict.

    Args:
        folder: of its run.
        score: by which its confidence is shown, with its options. Default: that of its decision, else
            "softmax_response".
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
        card = self.card
        return ImageSpec(card.channels, *card.image_size, card.crop, card.interpolation, card.exif)

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
        usable = [picture for picture in pictures if picture.pixels is not None]
        predictions = iter(self._predict(usable) if usable else ())
        for picture in pictures:
            if picture.pixels is None:
                yield Prediction(picture.name, picture.index, error=picture.error)
            else:
                yield next(predictions)

    def _predict(self, pictures: Sequence[ImageItem]) -> Iterator[Prediction]:
        card, names = self.card, self.card.class_names
        images = torch.stack([picture.pixels for picture in pictures if picture.pixels is not None])
        outputs = network_logits(self._network, card.normalization(), images.to(self._device))
        finite = outputs.isfinite().all(dim=1)
        known = Predictions(outputs.where(finite[:, None], torch.zeros(())), card.abstains)
        score = confidence(self.score, known, **self._options)
        ranking = known.class_logits.sort(dim=1, descending=True, stable=True).indices
        probabilities = known.class_logits.double().softmax(dim=1).gather(1, ranking[:, : self.top_k]).tolist()
        answered = None if card.decision is None else at_decision(card.decision, score, known.prediction).tolist()
        inside = None if card.sets is None else which_classes(card.sets, known.class_logits).gather(1, ranking).tolist()
        rows = zip(pictures, finite.tolist(), score.tolist(), ranking.tolist(), probabilities, strict=True)
        for row, (picture, is_finite, value, order, likeliest) in enumerate(rows):
            if not is_finite:
                yield Prediction(picture.name, picture.index, error="the student's logits are not finite")
                continue
            abstained = None if answered is None else not answered[row]
            yield Prediction(
                input=picture.name,
                index=picture.index,
                label=None if abstained else names[order[0]],
                probability=likeliest[0],
                abstained=abstained,
                score=value,
                top=tuple(zip((names[label] for label in order[: self.top_k]), likeliest, strict=True)),
                set=None if inside is None else tuple(names[label] for label in compress(order, inside[row])),
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
    """A prediction for each image in order, of one that cannot be read its ``error``; a batch is in memory at a time.

    Inputs are image files, folders of images, ``.npy`` and ``.npz`` files; see
    :func:`preceptor.data.sources.open_image_source`. The other arguments are those of :class:`Predictor`.

    Raises:
        InputError: as :class:`Predictor` and :func:`~preceptor.data.sources.open_image_source`, before any prediction.
        MachineError: no such device.
    """
    predictor = Predictor(folder, score=score, options=options, top_k=top_k, device=device)
    sources = [open_image_source(path) for path in inputs]
    pictures = (picture for source in sources for picture in source.images(predictor.form))
    return predictor.predictions(pictures, batch_size)
