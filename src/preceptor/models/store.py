"""A student as two files: its weights, and a card with what it takes to use them. Nothing is ever unpickled."""

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from preceptor.config import validated
from preceptor.data.dataset import LARGEST_MEAN, LEAST_DEVIATION, check_class_names
from preceptor.data.images import MOST_PIXELS, Framing
from preceptor.errors import InputError, first_line
from preceptor.files import read_json, write_whole
from preceptor.models.decision import Decision, SetDecision
from preceptor.models.family import build_model
from preceptor.models.sized import SizedNormalization
from preceptor.models.weights import is_pickle, load_fitting, matched, without_wrapper

WEIGHTS_FILE = "student.safetensors"
CARD_FILE = "student.json"

Count = Annotated[int, Field(ge=1)]
Mean = Annotated[float, Field(ge=-LARGEST_MEAN, le=LARGEST_MEAN)]
Deviation = Annotated[float, Field(ge=LEAST_DEVIATION, allow_inf_nan=False)]


class ModelCard(BaseModel):
    """What it takes to use a student.

    Args:
        architecture: its name, as ``build_model`` takes it. One that names a function, ``PACKAGE.MODULE:FUNCTION``, is
            built only where the user allows its module (``models.allow_code``): a card may come from a stranger.
        channels: of the images.
        classes: number of classes.
        class_names: one a class, in the order of the logits.
        image_size: height and width in pixels that the network sees; images of another are resized.
        mean: subtracted per channel from pixels scaled to [0, 1].
        std: divides per channel after that.
        data: the data set it was trained on, as the user stated it.
        preceptor: version that trained it.
        abstains: whether one more output follows the classes', the reservation. Default False.
        decision: when it answers and when it abstains, with the guarantee; ``preceptor calibrate`` writes it. Default
            None: it always answers.
        sets: which classes its prediction sets hold, with the guarantee; likewise. Default None.
        notes: anything else. Default none.
        interpolation: by which image files are scaled to ``image_size``. Default "bicubic".
        crop: share of the shorter side of an image file that the central crop keeps. Default 1: all of it.
        exif: whether image files are turned upright by their EXIF orientation. Default True.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    channels: Count
    classes: Count
    class_names: tuple[str, ...]
    image_size: tuple[Count, Count]
    mean: tuple[Mean, ...]
    std: tuple[Deviation, ...]
    data: str
    preceptor: str
    abstains: bool = False
    decision: Decision | None = None
    sets: SetDecision | None = None
    notes: dict[str, str] = {}
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    exif: bool = True

    @field_validator("class_names")
    @classmethod
    def _one_a_class(cls, names: tuple[str, ...], card: ValidationInfo) -> tuple[str, ...]:
        classes = card.data.get("classes", len(names))
        if len(names) != classes:
            raise ValueError(f"{len(names)} names for {classes} classes: name each class once")
        try:
            check_class_names(names, "class_names")
        except InputError as error:
            raise ValueError(str(error)) from error
        return names

    @field_validator("image_size")
    @classmethod
    def _can_be_decoded(cls, size: tuple[int, int]) -> tuple[int, int]:
        if size[0] * size[1] > MOST_PIXELS:
            raise ValueError(f"an image has at most {MOST_PIXELS:,} pixels")
        return size

    @field_validator("mean", "std")
    @classmethod
    def _one_a_channel(cls, values: tuple[float, ...], card: ValidationInfo) -> tuple[float, ...]:
        channels = card.data.get("channels", len(values))
        if len(values) != channels:
            raise ValueError(f"{len(values)} values for {channels} channels: give one for each")
        return values

    def normalization(self) -> SizedNormalization:
        """The normalization of its input images, which resizes those of another size than its own."""
        return SizedNormalization(self.mean, self.std, self.image_size)

    def framing(self) -> Framing:
        """How image files are brought to what it sees."""
        height, width = self.image_size
        return Framing(height if height == width else None, self.crop, self.interpolation, self.exif)

    @field_validator("decision")
    @classmethod
    def _one_threshold_a_class(cls, decision: Decision | None, card: ValidationInfo) -> Decision | None:
        limits = None if decision is None else decision.class_thresholds
        classes = card.data.get("classes")
        if limits is not None and classes is not None and len(limits) != classes:
            raise ValueError(f"{len(limits)} class_thresholds for {classes} classes: give one for each")
        return decision

    @property
    def outputs(self) -> int:
        """Number of outputs of the network: the classes, and the reservation where it may abstain."""
        return self.classes + self.abstains

    def build(self) -> nn.Module:
        """The architecture with random weights; torch's generator is left as it was."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return build_model(self.architecture, channels=self.channels, classes=self.outputs, weights="later")

    def outline(self) -> dict[str, Tensor]:
        """Names, shapes and types of the weights, without memory for them where the architecture is Preceptor's own.

        A card may state a network that no memory holds, so its weights are compared before it is built. Libraries and
        functions build their own sizes by name, and not every model of theirs can be built without memory.
        """
        if ":" in self.architecture:
            return self.build().state_dict()
        with torch.random.fork_rng(devices=[]), torch.device("meta"), _NoDraws():
            return build_model(self.architecture, channels=self.channels, classes=self.outputs).state_dict()


class _NoDraws(TorchFunctionMode):
    """Leaves out initial weights, for whose drawing on no device torch would import its compiler: a second or two."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **(kwargs or {}))


def save_student(folder: Path, model: nn.Module, card: ModelCard) -> None:
    """Write ``student.safetensors``, then ``student.json``, into a folder, which is made if need be.

    Each file is written beside its place, synced and renamed: a reader never sees half of one, and a student already
    in the folder survives a full disk. The prefix that DataParallel, DDP or ``torch.compile`` put before every name is
    taken off.

    Raises:
        InputError: the weights do not fit the architecture on the card, so nobody could load them.
        MachineError: the folder cannot be written.
    """
    weights = _plain_weights(model)
    report = matched(weights, card.build().state_dict())
    if not report.is_whole:
        raise InputError(f"the student does not fit architecture {card.architecture!r} of its card: {report.line()}")
    write_whole({folder / WEIGHTS_FILE: save(weights), folder / CARD_FILE: _card_text(card)})


def save_weights(folder: Path, model: nn.Module) -> None:
    """Write ``student.safetensors`` alone, of a network that no card could describe: load it into one of its kind.

    Raises:
        MachineError: the folder cannot be written.
    """
    write_whole({folder / WEIGHTS_FILE: save(_plain_weights(model))})


def _plain_weights(model: nn.Module) -> dict[str, Tensor]:
    weights, _ = without_wrapper(model.state_dict())
    # safetensors asks for tensors on the CPU with memory of their own and rows in order.
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }


def save_card(folder: Path, card: ModelCard) -> None:
    """Replace the card beside a student's weights, whole.

    Raises:
        MachineError: the folder cannot be written.
    """
    write_whole({folder / CARD_FILE: _card_text(card)})


def load_student(folder: Path) -> tuple[nn.Module, ModelCard]:
    """The student in a folder, in eval mode on the CPU, and its card. torch's generator is left as it was.

    Where every weight's name begins with ``module.`` or ``_orig_mod.``, as DDP and ``torch.compile`` name them, the
    prefix is taken off, and a warning says so.

    Raises:
        InputError: the folder or a file is missing or damaged, the card has an unknown or mistyped key, or the
            weights do not fit the architecture. The message names the file.
        MachineError: the architecture comes from timm, torchvision or transformers, which is missing or cannot be
            loaded.
    """
    if folder.is_file():
        raise InputError(f"{folder}: a file; give the folder of a run, which holds {WEIGHTS_FILE}")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a run, which holds {WEIGHTS_FILE}")
    for name in (CARD_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            if (folder / "run.yaml").is_file() and not (
                folder / WEIGHTS_FILE
            ).is_file():  # of a run; the student is written after the last epoch
                raise InputError(
                    f"{folder}: no student yet: the run was stopped, or is going on: preceptor resume {folder}"
                )
            if name == CARD_FILE and (folder / WEIGHTS_FILE).is_file():
                raise InputError(
                    f"{folder / name}: no such file: was the student a network from Python? then load {WEIGHTS_FILE} "
                    "into one of its kind there, and call preceptor.evaluate"
                )
            raise InputError(f"{folder / name}: no such file: the folder holds no complete student")
    card = read_card(folder / CARD_FILE)
    weights, prefix = without_wrapper(_read_weights(folder / WEIGHTS_FILE))
    if prefix:
        warnings.warn(f"{folder / WEIGHTS_FILE}: took {prefix!r} off the name of every weight", stacklevel=2)
    try:
        report = matched(weights, card.outline())
    except (InputError, RuntimeError) as error:  # torch refuses to count the elements of some
        raise InputError(f"{folder / CARD_FILE}: {error}") from error
    if not report.is_whole:
        raise InputError(f"{folder / WEIGHTS_FILE}: does not fit architecture {card.architecture!r}: {report.line()}")
    model = card.build()
    load_fitting(model, weights)
    return model.eval(), card


def _card_text(card: ModelCard) -> bytes:
    return (card.model_dump_json(indent=2) + "\n").encode()


def read_card(path: Path) -> ModelCard:
    """The card in a file.

    Raises:
        InputError: it is missing or damaged, or has an unknown or mistyped key.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is a JSON {type(content).__name__}; expected an object")
    return validated(ModelCard, content, str(path))


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if is_pickle(path):
            raise InputError(f"{path}: a pickle, not safetensors; not opened, since a pickle can run any code")
        return load_file(path)
    except InputError:
        raise
    except Exception as error:  # a damaged header makes the library raise nearly anything
        raise InputError(
            f"{path}: not a whole safetensors file ({first_line(error)}); copy or train it again"
        ) from error
