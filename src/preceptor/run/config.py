"""The settings of a run: data, networks, teacher, recipe, training, seeds."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from preceptor.config import FrozenModel, check_keys, read_yaml, validated, with_overrides
from preceptor.data import Normalization
from preceptor.data.composition import check_names
from preceptor.errors import InputError, nearest, unknown_name
from preceptor.recipes import Recipe, read_recipe
from preceptor.registry import find_component, options
from preceptor.settings import NESTED_FLAGS, read_settings
from preceptor.teachers.cache.remote import cache_place
from preceptor.teachers.ensemble import Mean
from preceptor.teachers.rows import OutputKind
from preceptor.training import PRESETS, Compile, OnNonfinite, Precision, TrainingConfig


class NormalizationConfig(FrozenModel):
    """Normalization of the images of an ONNX teacher or of a network by name."""

    mean: tuple[float, ...] = Field(
        description="mean of an ONNX or named teacher's images, of pixel values scaled to [0, 1]: one number, or one a "
        "channel; 0 with deviation 1 for a network that takes these values as they are"
    )
    std: tuple[float, ...] = Field(description="deviation of these pixel values, above 0: one number, or one a channel")

    def normalization(self, channels: int) -> Normalization:
        """For so many channels; one number is for all of them."""
        mean, std = (one * channels if len(one) == 1 else one for one in (self.mean, self.std))
        return Normalization(mean, std)


def _one_or_several(value: object) -> object:
    """A list of one teacher is that teacher; an empty one would be an ensemble of none."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("an empty list: name at least one teacher, or leave the key out")
        return value[0] if len(value) == 1 else tuple(value)
    return value


Teachers = Annotated[Path | tuple[Path, ...] | None, BeforeValidator(_one_or_several)]


def _cache_place(value: object) -> object:
    return cache_place(value) if isinstance(value, str) else value


CachePlace = Annotated[Path | str | None, BeforeValidator(_cache_place)]


def _augmentation(value: object) -> object:
    """Words for true and false as these; names that can be joined, as they are."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False}
    if value.lower() in words:
        return words[value.lower()]
    try:
        check_names(value)
    except InputError as error:
        raise ValueError(str(error)) from error
    return value


Augment = Annotated[bool | str, BeforeValidator(_augmentation)]


class RunConfig(FrozenModel):
    """The resolved settings of a run; written to ``run.yaml`` and readable from there.

    Each field's description is its only documentation: the command line's flags, ``--help`` and the settings' schema
    are made from it (``python tools/settings.py`` after a change).
    """

    data: str = Field(
        default="digits",
        description="data set: digits, mnist, fashion-mnist, kmnist, svhn, cifar10, cifar100, cinic10, tiny-imagenet, "
        "imagenet, arrays:FILE.npz; or images in folder:DIR, list:FILE.csv, parquet:PATH, wds:PATH (tar archives) or "
        "hf:NAME",
    )
    data_root: Path | None = Field(
        default=None, description="folder of the named data sets; unset: $PRECEPTOR_DATA, else ~/.cache/preceptor/data"
    )
    download: bool = Field(default=False, description="download a named data set that is missing")
    image_size: int | None = Field(
        default=None,
        ge=1,
        description="bring encoded images to this side, in pixels; unset: a pretrained student's own size, else a "
        "teacher's, else the size that all of them have",
    )
    crop: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of the shorter side of encoded images that is kept; unset: as the size, else 1",
    )
    interpolation: Literal["bicubic", "bilinear"] | None = Field(
        default=None, description="by which encoded images are scaled; unset: as the size, else bicubic"
    )
    skip_bad_images: bool = Field(
        default=False,
        description="leave out a folder's unusable images and list them in skipped_images.txt, instead of stopping",
    )
    exif: bool = Field(default=True, description="turn a folder's images upright by their EXIF orientation")
    memory_limit: float = Field(
        default=4.0,
        ge=0,
        allow_inf_nan=False,
        description="GiB of a folder's decoded images that may be held in memory; of more, each is decoded when needed",
    )
    train_labels: Path | None = Field(
        default=None,
        description="file of labels to train on instead: .npy, .npz, .pt, .csv or .txt, in the order of the images or, "
        "of a .csv, by file name; FILE:KEY names one of several arrays or columns, as in CIFAR-10_human.pt:worse_label",
    )
    train_images: int | None = Field(default=None, ge=2, description="train on a stratified subset of this size")
    validation: float = Field(
        default=0.1, ge=0, lt=1, description="share of the training images held out: measured, never trained on"
    )
    folds: int | None = Field(
        default=None, ge=2, description="number of parts that the training images fall into, of which one is held out"
    )
    fold: int | None = Field(
        default=None, ge=1, description="the part that is held out, from 1; instead of validation, and with folds"
    )
    student: str = Field(
        default="convnet8",
        description="architecture to train, such as resnet8, convnet8, timm:NAME, torchvision:NAME, hf:NAME, or "
        "PACKAGE.MODULE:FUNCTION for what your own function builds",
    )
    pretrained: bool = Field(
        default=False,
        description="start the student from the pretrained weights of timm, torchvision or Hugging Face, with their "
        "normalization and size, and a new head; from the library's cache (--download fetches what is missing)",
    )
    student_weights: Path | None = Field(
        default=None,
        description="run folder, or file of weights (safetensors, or a state dict of torch.save), that the student "
        "starts from: tensors of the same name and shape",
    )
    student_size: int | None = Field(
        default=None, ge=1, description="side of the images that the student sees, in pixels; unset: its own"
    )
    teacher: Teachers = Field(
        default=None,
        description="run folder, FILE.onnx, or FILE.npy or FILE.parquet of outputs, one row a training image; or a "
        "network by name: resnet56, timm:NAME, torchvision:NAME, hf:NAME or PACKAGE.MODULE:FUNCTION; several make an "
        "ensemble",
    )
    teacher_weights: Path | None = Field(
        default=None,
        description="file of weights for a teacher that is a network by name, such as a checkpoint of RepDistiller or "
        "mdistiller for resnet32x4; unset: the library's pretrained ones",
    )
    teacher_output: OutputKind | None = Field(
        default=None, description="what an .onnx, .npy or .parquet teacher's numbers are; never guessed"
    )
    teacher_output_name: str | None = Field(
        default=None, description="name of an ONNX teacher's output, where it has several; unset: as teacher_output"
    )
    teacher_normalization: NormalizationConfig | None = Field(
        default=None,
        description="mean and std of the images of an ONNX teacher, or of a network by name; unset: the data set's (an "
        "ONNX file that takes uint8 normalizes by itself), or those of the library's weights",
    )
    ensemble_mean: Mean = Field(default="probabilities", description="what an ensemble averages")
    ensemble_weights: tuple[float, ...] | None = Field(
        default=None, description="weights of the ensemble's teachers; unset: equal"
    )
    cache: CachePlace = Field(
        default=None,
        description="folder that caches the teacher's outputs, made where it is missing; or the URL of a filled cache",
    )
    cache_top_k: int | None = Field(
        default=None, ge=1, description="number of largest logits that a new cache keeps; unset: all"
    )
    audit: Path | None = Field(
        default=None, description="folder of preceptor audit: corrections apply only where it blames the teacher"
    )
    recipe: Recipe = Field(
        description="recipe's name (see preceptor methods), a .yaml file, several joined by +, or the recipe itself"
    )
    scores: Path | None = Field(
        default=None, description="score file for the recipe's selection (preceptor select writes one); unset: fit it"
    )
    training: TrainingConfig = Field(
        default=PRESETS["short"], description=f"preset ({', '.join(PRESETS)}), or the training settings themselves"
    )
    augment: Augment = Field(
        default=True,
        description="train on random views of the images: true is the data set's rule, false shows them as they are; "
        "or names joined by +: crop-flip or resized-crop, flip, randaugment (or randaugment:MAGNITUDE), color-jitter, "
        "erasing; two of these with a comma between show each image in a weak and a strong view",
    )
    shard: bool = Field(
        default=False,
        description="of several processes each holds a part of the student's weights, gradients and optimizer state "
        "(torch's fully_shard)",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of weights, order and views")
    split_seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the held-out part and the subset; keep the teacher's: with its validation and labels too, "
        "both hold out the same images",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes CUDA where there is one")
    precision: Precision = Field(
        default="auto", description="auto takes bf16 where it is faster, by device and network; of student and teacher"
    )
    compile: Compile = Field(
        default="auto",
        description="compile the networks; auto: where the run is long enough to gain, graph: as CUDA graphs",
    )
    on_nonfinite: OnNonfinite = Field(
        default="raise",
        description="at a non-finite loss, gradient or weight: raise ends the run; skip leaves the step out, up to 5 % "
        "of an epoch's",
    )
    keep_checkpoints: int = Field(
        default=0,
        ge=0,
        description="number of epochs whose weights are kept, evenly spaced; TracIn reads its teacher's",
    )

    @property
    def teachers(self) -> tuple[Path, ...]:
        """Every teacher, in order."""
        if self.teacher is None:
            return ()
        return self.teacher if isinstance(self.teacher, tuple) else (self.teacher,)


def read_config(path: Path) -> dict[str, Any]:
    """The content of a file of settings, or of the ``run.yaml`` of an earlier run."""
    content = read_yaml(path)
    if set(content) == {"config", "record"}:
        content = content["config"]
    if not isinstance(content, dict):
        raise InputError(f"{path}: config is a {type(content).__name__}; expected a mapping of names to values")
    return content


def resolve(
    content: Mapping[str, Any], overrides: Iterable[tuple[str, Any]] = (), where: str = "the configuration"
) -> RunConfig:
    """Check settings, with overrides applied in order.

    Args:
        content: the settings; ``recipe`` may be a recipe's name or file, ``training`` a preset's name.
        overrides: dotted keys and values, as in ``recipe.correction.eta`` or ``training.epochs``.
        where: the settings come from, for messages.

    Raises:
        InputError: an unknown key or name (the nearest is offered), or a value that does not fit.
    """
    inner: dict[str, dict[str, Any]] = {"recipe": {}, "training": {}}
    outer = []
    for key, value in overrides:
        part, dot, rest = key.partition(".")
        if dot and part in inner:
            inner[part][rest] = value
        else:
            outer.append((key, value))
    check_keys(content, where)  # a run's settings lie below the top of its file
    settings = with_overrides(content, outer)
    settings["recipe"] = _recipe(settings.get("recipe", "none"), inner["recipe"])
    settings["training"] = _training(settings.get("training", "short"), inner["training"])
    for part in inner:
        check_keys(settings[part], f"{where}: {part}")
    for key in settings:
        if key not in RunConfig.model_fields:
            raise _unknown_setting(key, where, settings["recipe"])
    return validated(RunConfig, settings, where)


def _recipe(value: object, overrides: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value, (str, Path)):
        return read_recipe(value, overrides).model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return with_overrides(value, overrides.items())
    raise InputError(f"recipe is {value!r}; expected a recipe's name, a .yaml file, or the recipe itself")


def _training(value: object, overrides: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value, str):
        if value not in PRESETS:
            raise unknown_name("training preset", value, PRESETS)
        value = PRESETS[value].model_dump()
    if not isinstance(value, Mapping):
        raise InputError(f"training is {value!r}; expected {', '.join(PRESETS)}, or the training settings themselves")
    return with_overrides(value, overrides.items())


def _unknown_setting(key: str, where: str, recipe: Mapping[str, Any]) -> InputError:
    """The error for an unknown key. What it may mean is looked for a level deeper too: users type epochs=2."""
    places = {flag.removeprefix("--"): [name] for name, flag in NESTED_FLAGS.items()}
    for name in [*read_settings(), *_recipe_keys(recipe)]:
        places.setdefault(name.rpartition(".")[2], []).append(name)
    meant = key if key in places else nearest(key, places)
    hint = ""
    if meant is not None:
        names = [f"{name} ({NESTED_FLAGS[name]})" if name in NESTED_FLAGS else name for name in places[meant]]
        hint = f"did you mean {' or '.join(dict.fromkeys(names))}? "
    return InputError(f"unknown key in {where} {key!r}: {hint}preceptor methods --settings lists all settings")


def _recipe_keys(recipe: Mapping[str, Any]) -> list[str]:
    """The dotted keys of the options of a recipe's components."""
    terms = recipe.get("terms")
    keys = [f"recipe.terms.{name}.weight" for name in terms] if isinstance(terms, Mapping) else []
    for slot in ("recalibration", "correction", "temperature", "selection"):
        choice = recipe.get(slot)
        if isinstance(choice, Mapping) and isinstance(choice.get("name"), str):
            keys += [f"recipe.{slot}.{name}" for name in options(find_component(slot, choice["name"]))]
    return keys
