"""The entries of the GPU list, in the order of what to learn first."""

from dataclasses import dataclass

_BENCH = ("-m", "preceptor", "bench", "--json", "--device", "{device}", "--rounds", "3")
_RUN = ("--json", "--device", "{device}", "--data", "arrays:{data}", "--epochs", "30")


@dataclass(frozen=True)
class Entry:
    """One command of Python, in a process of its own.

    Attributes:
        name: of its result file.
        about: what it shows, in a line.
        minutes: estimated; it starts only while so many are left, and is stopped after twice as many.
        command: arguments of Python. ``{device}``, ``{data}``, ``{out}`` and ``{work}`` are filled in.
        run: the folder that ``preceptor resume`` goes on in when the entry was stopped; empty when it starts anew.
    """

    name: str
    about: str
    minutes: float
    command: tuple[str, ...]
    run: str = ""


ENTRIES = (
    Entry(
        "check",
        "losses, augmentation, teacher, cache and training agree with the CPU; resume gives the same bits",
        2,
        ("-m", "experiments.gpu.checks", "--device", "{device}"),
    ),
    Entry(
        "bench-graph", "speed against the baseline loop, students as CUDA graphs", 2, (*_BENCH, "--compile", "graph")
    ),
    Entry("bench-never", "the same with nothing compiled", 1.5, (*_BENCH, "--compile", "never")),
    Entry(
        "teacher",
        "resnet56 on CIFAR-100, 30 epochs",
        3,
        ("-m", "preceptor", "train", *_RUN, "--model", "resnet56", "--out", "{work}/teacher"),
        run="{work}/teacher",
    ),
    Entry(
        "student",
        "resnet20 from that teacher by recipe kd, 30 epochs",
        2,
        (
            *("-m", "preceptor", "distill", *_RUN, "--student", "resnet20", "--recipe", "kd"),
            *("--teacher", "{work}/teacher", "--out", "{work}/student"),
        ),
        run="{work}/student",
    ),
    Entry(
        "losses",
        "what every loss costs, eager and compiled",
        3,
        ("-m", "experiments.bench.losses", "--device", "{device}", "--rounds", "3", "--out", "{out}/bench-losses.json"),
    ),
)
