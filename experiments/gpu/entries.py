"""The entries of the GPU list, in the order of what to learn first."""

from dataclasses import dataclass
from pathlib import Path

_DEVICE = ("--json", "--device", "{device}")
_SPEED = ("-m", "preceptor", "bench", *_DEVICE, "--batches", "50", "--variant", "live", "--variant", "cache")
_DATA = (*_DEVICE, "--data", "cifar100", "--data-root", "{data}")
_COMPARE = ("-m", "preceptor", "compare", *_DATA, "--config", str(Path(__file__).with_name("training.yaml")))
_TEACHER = ("--teacher", "{out}/teacher/runs/none/seed-0")


@dataclass(frozen=True)
class Entry:
    """One command of Python, in a process of its own.

    Attributes:
        name: of its result file.
        about: what it shows, in a line.
        command: arguments of Python; what stands in braces is filled in.
        minutes: it is stopped after so many.
        goes_on: after a stop the same command goes on where it was. Another one has failed when it is stopped, and so
            starts only while all its minutes are left.
        needs: an entry that is to be done before.
    """

    name: str
    about: str
    command: tuple[str, ...]
    minutes: float = 4
    goes_on: bool = False
    needs: str = ""


ENTRIES = (
    Entry(
        "check",
        "losses, augmentation, teacher, cache and training agree with the CPU; resume gives the same bits",
        ("-m", "experiments.gpu.checks", "--device", "{device}"),
        minutes=3,
    ),
    Entry(
        "speed-eager",
        "resnet32x4 to resnet8x4 at batch 64 against the baseline loop: live, cached, 8 students, the student alone",
        (*_SPEED, "--variant", "live-8", "--variant", "student-alone", "--compile", "never"),
        minutes=2,
    ),
    Entry("speed-graph", "the first two with students as CUDA graphs", (*_SPEED, "--compile", "graph"), minutes=3),
    Entry("speed-compiled", "the first two compiled", (*_SPEED, "--compile", "always"), minutes=3),
    Entry(
        "teacher",
        "resnet32x4 on CIFAR-100: labels alone",  # by compare, since that goes on after a stop
        (
            *(*_COMPARE, "--student", "resnet32x4", "--recipes", "none", "--epochs", "{teacher_epochs}"),
            *("--out", "{out}/teacher"),
        ),
        goes_on=True,
    ),
    Entry(
        "cache",
        "that teacher's logits of all crops and flips, as many as fit",
        (
            *("-m", "preceptor", "cache", "{out}/cache", "--fill", *_DATA, *_TEACHER),
            *("--validation", "0.1", "--compile", "never"),  # as in training.yaml
        ),
        minutes=2,
        goes_on=True,
        needs="teacher",
    ),
    Entry(
        "students",
        "resnet8x4 from that cache by every recipe of training.yaml, all at once",
        (*_COMPARE, *_TEACHER, "--cache", "{out}/cache", "--epochs", "{epochs}", "--out", "{out}/students"),
        goes_on=True,
        needs="teacher",
    ),
    Entry(
        "crd",
        "resnet8x4 by CRD, from the live teacher's features",
        (*_COMPARE, *_TEACHER, "--recipes", "crd", "--epochs", "{epochs}", "--out", "{out}/crd"),
        goes_on=True,
        needs="teacher",
    ),
)
