"""Entry: images a second of the loop with each of its means on and off.

Every group has a usual setting and others that differ from it in one thing. All of a group train in turn, an epoch
each, round after round, so that whatever else the machine does meets them alike; what counts is the ratio to the usual
one in the same round. Images and labels are made up: they change no time.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from benchmarks.gpu.entries import UNFINISHED
from benchmarks.gpu.job import Job, entry_parser, job_of
from benchmarks.gpu.made_up import NORMALIZE, made_up, pupil, untrained
from benchmarks.gpu.parts import in_parts
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.data import CropFlip, ImageSet
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.cache import CacheKey, Layout, fill, open_cache
from preceptor.training import Compile, EpochRecord, Precision, Student, TrainingConfig, fit
from preceptor.training.device import deterministic

CLASSES = 100
RULE = CropFlip(padding=1, flip=True)  # 18 views: a cache of all of them is filled in seconds
WARM_UP = 2
"""Epochs that do not count: kernels are chosen and compiled in them."""
MOST_SECONDS_A_GROUP = 200.0


@dataclass(frozen=True)
class DatasetKey:
    """How the loop is run.

    Attributes:
        batch_size, precision, compile: as ``fit`` takes them.
        teacher: "plain" as it came, "folded" and "bf16" made fast, "compiled" on top; "cache"; "none" for labels alone.
        pupils: in the class.
        rows: whether images and activations lie row by row rather than channels last.
        deterministic: whether torch keeps to algorithms that give the same bits each time.
        overlap: whether the next step is made on a stream of its own.
    """

    batch_size: int = 64
    precision: Precision = "auto"
    compile: Compile = "never"
    teacher: Literal["plain", "folded", "bf16", "compiled", "cache", "none"] = "bf16"
    pupils: int = 1
    rows: bool = False
    deterministic: bool = False
    overlap: bool = False


USUAL = DatasetKey()
CACHED = DatasetKey(teacher="cache")
GROUPS: dict[str, dict[str, DatasetKey]] = {
    "student compiled or captured": {
        "usual": CACHED,
        "graph": replace(CACHED, compile="graph"),
        "compiled": replace(CACHED, compile="always"),
    },
    "teacher": {
        "usual": USUAL,
        "plain": replace(USUAL, teacher="plain"),
        "folded": replace(USUAL, teacher="folded"),
        "compiled": replace(USUAL, teacher="compiled"),
        "cache": CACHED,
        "none": replace(USUAL, teacher="none"),
    },
    "two streams": {
        "usual": USUAL,
        "overlap": replace(USUAL, overlap=True),
        "128 at a time": replace(USUAL, batch_size=128),
        "128 at a time, overlap": replace(USUAL, batch_size=128, overlap=True),
    },
    "precision": {
        "usual": CACHED,
        "fp32": replace(CACHED, precision="fp32"),
        "bf16": replace(CACHED, precision="bf16"),
    },
    "layout": {"usual": CACHED, "rows": replace(CACHED, rows=True)},
    "batch size": {
        "usual": CACHED,
        **{f"{size}": replace(CACHED, batch_size=size) for size in (128, 256, 512)},
    },
    "class": {
        "usual": CACHED,
        **{f"{number} pupils": replace(CACHED, pupils=number) for number in (4, 8)},
        "8 pupils, graph": replace(CACHED, pupils=8, compile="graph"),
    },
    "deterministic": {"usual": CACHED, "deterministic": replace(CACHED, deterministic=True)},
}


class _ByRows(nn.Module):
    """A network that lays its images row by row, whatever the loop did to them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.network(images.contiguous())
        return logits


@dataclass(frozen=True)
class Room:
    """What all settings share: images, the names of the networks, and a cache that is filled.

    Attributes:
        train: made-up images.
        teacher: as it came.
        cache: of what it says, in the precision that is usual on the device.
        student: architecture.
        epochs: of every training.
    """

    train: ImageSet
    teacher: NetworkTeacher
    cache: Teacher
    student: str
    epochs: int

    def signal(self, setting: DatasetKey) -> Teacher | None:
        """The teacher of a setting."""
        if setting.teacher == "cache":
            return self.cache
        if setting.teacher in ("plain", "none"):
            return self.teacher if setting.teacher == "plain" else None
        bf16 = False if setting.teacher == "folded" else None
        return self.teacher.optimize_for_inference(bf16=bf16, compile=setting.teacher == "compiled", batch_size=setting.batch_size)

    def training(self, setting: DatasetKey) -> Iterator[list[EpochRecord]]:
        """A training, of which every epoch is a ``next``."""
        name = "none" if setting.teacher == "none" else "kd"
        return fit(
            [self._pupil(f"{name} {number}", name, setting.rows) for number in range(setting.pupils)],
            self.train,
            torch.arange(len(self.train)),
            RULE,
            NORMALIZE,
            TrainingConfig(epochs=self.epochs, batch_size=setting.batch_size, learning_rate=0.01),
            teacher=self.signal(setting),
            precision=setting.precision,
            compile=setting.compile,
            overlap=setting.overlap,
        )

    def _pupil(self, name: str, recipe: str, rows: bool) -> Student:
        made = pupil(recipe, self.student, CLASSES)
        return Student(name, _ByRows(made.student) if rows else made.student, made.loss)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = entry_parser(__doc__)
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--groups", default=",".join(GROUPS), help="with commas between")
    given = parser.parse_args(arguments)
    job = job_of(given)
    with ExitStack() as stack:
        room = _room(job, stack, given.teacher, given.student, given.images, WARM_UP + given.rounds)
        names = given.groups.split(",")
        found = in_parts(job, names, lambda name: group_rates(room, GROUPS[name]), seconds=MOST_SECONDS_A_GROUP)
    if found is None:
        return UNFINISHED
    shared = {key: getattr(given, key) for key in ("teacher", "student", "images", "rounds")}
    job.answer({**shared, "groups": found})
    return 0


def _room(job: Job, stack: ExitStack, teacher: str, student: str, images: int, epochs: int) -> Room:
    train = made_up(images, job.device, CLASSES)
    plain = untrained(job.device, teacher, CLASSES)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=job.folder)))
    layout = Layout(samples=images, views=RULE.count, classes=CLASSES)
    given = CacheKey.of("untrained", "made up", NORMALIZE, RULE, [str(number) for number in range(CLASSES)])
    cache = stack.enter_context(open_cache(folder / "cache", given, layout, plain.optimize_for_inference()))
    fill(cache, train.images, RULE, batch_size=1024)
    return Room(train, plain, cache, student, epochs)


def group_rates(room: Room, settings: Mapping[str, DatasetKey]) -> dict[str, Any]:
    """Images a second and a pupil by setting, and the ratios to the usual one in the same rounds."""
    trainings = {name: room.training(setting) for name, setting in settings.items()}
    rates: dict[str, list[float]] = {name: [] for name in settings}
    broken: dict[str, str] = {}
    for _ in range(room.epochs):
        for name in [name for name in settings if name not in broken]:
            try:
                with _guarantees(settings[name]):
                    epoch = next(trainings[name])
            except Exception as error:  # a means that this machine lacks is a finding, and the others go on
                if name == "usual":
                    raise
                broken[name] = f"{type(error).__name__}: {error}"
                continue
            rates[name].append(epoch[0].images_per_second * settings[name].pupils)
    counted = {name: found[WARM_UP:] for name, found in rates.items()}
    return {
        name: {"error": broken[name]} if name in broken else _summary(counted[name], counted["usual"])
        for name in settings
    }


def _guarantees(setting: DatasetKey) -> AbstractContextManager[None]:
    return deterministic() if setting.deterministic else nullcontext()


def _summary(own: Sequence[float], usual: Sequence[float]) -> dict[str, Any]:
    ratios = sorted(one / other for one, other in zip(own, usual, strict=True))
    return {
        "images_per_second_times_pupils": round(statistics.median(own), 1),
        "ratio_to_usual": {
            "median": round(statistics.median(ratios), 3),
            "least": round(ratios[0], 3),
            "most": round(ratios[-1], 3),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
