"""Measures a student from its run folder."""

from pathlib import Path
from typing import Literal

from preceptor.data import Normalisation, load_dataset
from preceptor.errors import InputError
from preceptor.evaluation import Metrics, evaluate
from preceptor.evaluation.logits import network_logits
from preceptor.models import ModelCard, load_student
from preceptor.runs.cards import check_card
from preceptor.training.device import choose_device


def measure_student(
    folder: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    skip_bad_images: bool = False,
    split: Literal["test", "train"] = "test",
    device: str = "auto",
) -> tuple[Metrics, ModelCard]:
    """Metrics of a student on a split of a data set.

    Args:
        folder: its run folder.
        data: a data set; None is the one it was trained on.
        data_root, download, image_size, skip_bad_images: as for :class:`RunConfig`. A folder's images are resized to
            what the student was trained on unless a size is given.
        split: "test", or "train" for all training images, held out or not. Data given that has no test set, such as
            a folder with one subfolder a class, is measured as a whole.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: no whole student, classes or channels that do not fit, or no such split.
    """
    network, card = load_student(folder)
    spec = data or card.data
    if image_size is None and spec.startswith("folder:") and card.image_size[0] == card.image_size[1]:
        image_size = card.image_size[0]
    dataset = load_dataset(
        spec, root=data_root, download=download, image_size=image_size, skip_bad_images=skip_bad_images
    )
    check_card(f"student {folder}", card, dataset)
    whole = split == "train" or (dataset.test is None and data is not None)
    images = dataset.train if whole else dataset.test
    if images is None:
        raise InputError(f"{spec} has no test set: use --split train, or name a data set that has one")
    place = choose_device(device)
    logits = network_logits(network.to(place), Normalisation(card.mean, card.std), images.images.to(place))
    return evaluate(logits, images.labels, card.abstains), card
