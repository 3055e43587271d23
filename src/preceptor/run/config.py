"""What a run is made of: data, networks, recipe, protocol, seed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from preceptor.config import read_yaml, validated, with_overrides
from preceptor.data import Normalization
from preceptor.errors import InputError, unknown_name
from preceptor.recipes import Recipe, read_recipe
from preceptor.teachers.ensemble import Mean
from preceptor.teachers.rows import OutputKind
from preceptor.training import PRESETS, Compile, OnNonfinite, Precision, TrainingConfig


class NormalizationConfig(BaseModel):
    """What an ONNX teacher's images go through first, where it is not the data set's.

    Attributes:
        mean: a number a channel, of pixel values scaled to [0, 1].
        std: as many, above 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalization(self) -> Normalization:
        """As what does it.

        Raises:
            InputError: as many means as deviations are wanted, and these above 0.
        """
        return Normalization(self.mean, self.std)


def _one_or_several(given: object) -> object:
    """A list of one teacher is that teacher; an empty one would be an ensemble of nobody."""
    if isinstance(given, (list, tuple)):
        if not given:
            raise ValueError("an empty list: give one teacher or several, or leave the key out")
        return given[0] if len(given) == 1 else tuple(given)
    return given


Teachers = Annotated[Path | tuple[Path, ...] | None, BeforeValidator(_one_or_several)]


class RunConfig(BaseModel):
    """The resolved configuration of a run; written to ``run.yaml`` and readable from there.

    Attributes:
        data: a data set by name, ``arrays:FILE.npz`` or ``folder:DIR``.
        data_root: where named data sets lie; None is ``$PRECEPTOR_DATA``, else ``~/.cache/preceptor/data``.
        download: fetch a named data set that is not there.
        image_size: side in pixels to which the images of a folder are resized; None leaves them.
        skip_bad_images: leave out images of a folder that cannot be used, rather than refuse the folder; they are named
            in ``skipped_images.txt``.
        train_labels: a ``.npy`` file of integers that takes the place of the training labels.
        train_images: use a stratified subset of this many training images; None is all.
        validation: share of the training images held out, measured each epoch and never trained on.
        student: architecture of the network to train.
        teacher: run folder of the teacher, an ``.onnx`` file, or a ``.npy`` or ``.parquet`` file of what it said of
            each training image; or a list of these, an ensemble. None when the recipe needs none, or where a cache
            holds all that is asked.
        teacher_output: whether the numbers of ONNX and other files are "logits" or "probabilities"; never guessed. None
            where there are no such files.
        teacher_normalization: mean and std of an ONNX teacher's images; None is the data set's. A graph that takes
            uint8 normalizes itself.
        ensemble_mean: an ensemble is the mean of its members' "probabilities" or "logits".
        ensemble_weights: of the members; None is equal weights.
        cache: folder of a cache in front of the teacher, made if need be; None asks the teacher each time.
        cache_top_k: how many of the largest logits a cache to be made keeps; None is all. One that is there keeps what
            it keeps, and must keep this many where they are stated.
        recipe: the chain.
        scores: a score file (``preceptor select`` writes one) for the recipe's selection; None fits it anew.
        protocol: epochs, batch size, optimizer.
        augment: show random views (the data set's rule) rather than the images as they are.
        seed: of weights, order and views. A teacher and a student of one architecture and one seed start alike.
        split_seed: of the held-out part and the subset. It stays while ``seed`` changes, so that a teacher and its
            students, under whatever seeds, hold out the same images.
        device: "auto" takes CUDA where there is one.
        precision: "auto" is bf16 where the device has units for it; or "fp32", "bf16". Of the student by autocast, of
            the teacher by its weights as well.
        compile: student and teacher: "auto" where the run is long enough to pay for it; or "never", "always"; "graph"
            captures the student's passes as CUDA graphs, and leaves the teacher to "auto".
        on_nonfinite: what to do when a loss, a gradient or weights are not finite: "stop" the run; "skip" the step, up
            to 5 % of an epoch's; "lower" the learning rate to a tenth and begin the epoch again, up to three times.
            The last such step is kept in ``failure`` in the run's folder, for ``preceptor replay``.
        keep_checkpoints: how many moments of the training to keep, evenly spaced, the last epoch among them; a
            selection by TracIn looks at its teacher's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = "digits"
    data_root: Path | None = None
    download: bool = False
    image_size: int | None = Field(default=None, ge=1)
    skip_bad_images: bool = False
    train_labels: Path | None = None
    train_images: int | None = Field(default=None, ge=2)
    validation: float = Field(default=0.1, ge=0, lt=1)
    student: str = "convnet8"
    teacher: Teachers = None
    teacher_output: OutputKind | None = None
    teacher_normalization: NormalizationConfig | None = None
    ensemble_mean: Mean = "probabilities"
    ensemble_weights: tuple[float, ...] | None = None
    cache: Path | None = None
    cache_top_k: int | None = Field(default=None, ge=1)
    recipe: Recipe
    scores: Path | None = None
    training: TrainingConfig = PRESETS["short"]
    augment: bool = True
    seed: int = Field(default=0, ge=0, lt=2**63)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "auto"
    compile: Compile = "auto"
    on_nonfinite: OnNonfinite = "raise"
    keep_checkpoints: int = Field(default=0, ge=0)

    @property
    def teachers(self) -> tuple[Path, ...]:
        """Every teacher, in the order given."""
        if self.teacher is None:
            return ()
        return self.teacher if isinstance(self.teacher, tuple) else (self.teacher,)


def read_config(path: Path) -> dict[str, Any]:
    """The content of a configuration file, or of the ``run.yaml`` of an earlier run.

    Raises:
        InputError: it cannot be read.
    """
    content = read_yaml(path)
    if set(content) == {"config", "record"}:
        content = content["config"]
    if not isinstance(content, dict):
        raise InputError(f"{path}: 'config' holds {type(content).__name__}, expected a mapping of names to values")
    return content


def resolve(
    content: Mapping[str, Any], overrides: Iterable[tuple[str, Any]] = (), where: str = "the configuration"
) -> RunConfig:
    """Check a configuration, with overrides applied in order.

    ``recipe`` may be a recipe's name or file, ``protocol`` a protocol's name; overrides reach inside either, as in
    ``recipe.correction.eta=0.5`` or ``training.epochs=5``. ``where`` it comes from is for messages.

    Raises:
        InputError: an unknown key or name (nearest offered), or a value that does not fit.
    """
    content = dict(content)
    inner: dict[str, dict[str, Any]] = {"recipe": {}, "training": {}}
    outer = []
    for key, value in overrides:
        part, dot, rest = key.partition(".")
        if dot and part in inner:
            inner[part][rest] = value
        else:
            outer.append((key, value))
    content = with_overrides(content, outer)
    content["recipe"] = _recipe(content.get("recipe", "none"), inner["recipe"])
    content["training"] = _protocol(content.get("training", "short"), inner["training"])
    return validated(RunConfig, content, where)


def _recipe(given: object, overrides: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, (str, Path)):
        return read_recipe(given, overrides).model_dump(exclude_none=True)
    if isinstance(given, Mapping):
        return with_overrides(given, overrides.items())
    raise InputError(f"recipe: {given!r}: expected a recipe's name, a .yaml file, or the recipe itself")


def _protocol(given: object, overrides: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, str):
        if given not in PRESETS:
            raise unknown_name("training", given, PRESETS)
        given = PRESETS[given].model_dump()
    if not isinstance(given, Mapping):
        raise InputError(f"protocol: {given!r}: expected one of {', '.join(PRESETS)}, or its keys")
    merged = with_overrides(given, overrides.items())
    return validated(TrainingConfig, merged, "the protocol").model_dump()
