"""Measures a student from its run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from preceptor.data import Dataset, ImageSet, load_dataset
from preceptor.errors import InputError
from preceptor.metrics import Metrics, evaluate
from preceptor.metrics.logits import network_logits
from preceptor.models import ModelCard, load_student
from preceptor.run.cards import check_card
from preceptor.training.device import choose_device

Split = Literal["test", "train"]


@dataclass(frozen=True)
class Shown:
    """A student, and the images it is to be measured on.

    Attributes:
        folder: of the student's run.
        network: in eval mode, on the CPU.
        card: how to use it.
        spec: the data set, as it was given.
        dataset: all of it.
        images: the part to measure on, on the CPU.
        whole: whether that part is all training images.
    """

    folder: Path
    network: nn.Module
    card: ModelCard
    spec: str
    dataset: Dataset
    images: ImageSet
    whole: bool

    def outputs(self, images: Tensor, device: str = "auto") -> Float[Tensor, "n outputs"]:
        """The student's logits of images, in float32 on the CPU."""
        place = choose_device(device)
        return network_logits(self.network.to(place), self.card.normalization(), images.to(place))


def show_student(
    folder: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    skip_bad_images: bool = False,
    split: Split = "test",
) -> Shown:
    """A student and a split of a data set, each read and held against the other.

    Args:
        folder: its run folder.
        data: a data set; None is the one it was trained on.
        data_root, download, image_size, skip_bad_images: as for :class:`RunConfig`. A folder's images are resized to
            what the student was trained on unless a size is given.
        split: "test", or "train" for all training images, held out or not. Data given that has no test set, such as
            a folder with one subfolder a class, is measured as a whole.

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
    return Shown(folder, network, card, spec, dataset, images, whole)


def measure_student(
    folder: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    skip_bad_images: bool = False,
    split: Split = "test",
    device: str = "auto",
) -> tuple[Metrics, ModelCard]:
    """The usual metrics of a student on a split of a data set, without intervals; for all there is to measure, see
    :func:`preceptor.run.evaluation.evaluate_run`.

    Args:
        folder, data, data_root, download, image_size, skip_bad_images, split: as for :func:`show_student`.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: as :func:`show_student`.
        MachineError: there is no such device.
    """
    shown = show_student(
        folder,
        data=data,
        data_root=data_root,
        download=download,
        image_size=image_size,
        skip_bad_images=skip_bad_images,
        split=split,
    )
    outputs = shown.outputs(shown.images.images, device)
    return evaluate(outputs, shown.images.labels, shown.card.abstains), shown.card
