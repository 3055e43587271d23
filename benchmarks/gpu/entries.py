"""The GPU list: what is checked, measured and trained, in which order. Nothing here needs more than Python."""

from dataclasses import dataclass

UNFINISHED = 75
"""Exit status of an entry that has more to do and wants to be called again (EX_TEMPFAIL of sysexits.h)."""
PROGRESS_FILE = "progress.json"
"""What an entry that proceeds in slices leaves in its work folder: how much is done, of how much."""

TEACHER = "teacher-resnet32x4"
BANK = "cache-resnet32x4"
RECIPES = "none,kd,dist,ka-dtd,cmkd,lr,label-revision"
SEEDS = range(3)

_COMPILED = ("--compile", "always", "--variant", "live", "--variant", "cache", "--variant", "student-alone")
_MEMORY = ("benchmarks/memory.py", "--device", "{device}", "--out", "{out}", "--repeats", "1")
_OUR_OWN = ("--device", "{device}", "--folder", "{folder}", "--seconds", "{seconds}", "--out", "{out}")


class Unfit(Exception):
    """The machine lacks something that the list cannot be run without; the message says how to bring it."""


@dataclass(frozen=True)
class Entry:
    """One thing to run, in a process of its own.

    Attributes:
        name: of its result file and of its work folder.
        about: in a line.
        command: what Python is to run. In braces stand ``device``, the entry's own ``folder`` for work, the folder
            ``work`` of the whole list, the ``data`` file, the ``seconds`` it has, and ``out``, the JSON it writes.
        minutes: it is started only while so many are left of the call.
        sliced: it stops by itself when its seconds are over, and goes on in the next call.
        after: entries whose work it builds on.
    """

    name: str
    about: str
    command: tuple[str, ...]
    minutes: float
    sliced: bool = False
    after: tuple[str, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether it reads the data file."""
        return "{data}" in self.command


def _own(module: str, *options: str) -> tuple[str, ...]:
    return ("-m", f"benchmarks.gpu.{module}", *_OUR_OWN, *options)


def _distil(seed: int) -> Entry:
    options = ("--teacher", f"{{work}}/{TEACHER}", "--cache", f"{{work}}/{BANK}/cache", "--student", "resnet8x4")
    return Entry(
        f"distill-resnet8x4-{seed}",
        f"{RECIPES.replace(',', ', ')} as one class, 240 epochs, seed {seed}",
        _own("distill", "--data", "{data}", *options, "--recipes", RECIPES, "--seed", str(seed)),
        minutes=6,
        sliced=True,
        after=(TEACHER, BANK),
    )


def _bench(name: str, about: str, *options: str, minutes: float = 5) -> Entry:
    command = ("-m", "preceptor", "bench", "--device", "{device}", "--out", "{out}", *options)
    return Entry(name, f"preceptor bench: {about}", command, minutes)


ENTRIES = (
    Entry("check", "the same numbers on the GPU as on the CPU, and no step that waits for it", _own("check"), 6),
    _bench("bench", "resnet32x4 to resnet8x4, batch 64, students as CUDA graphs", "--compile", "graph"),
    _bench("bench-plain", "the same with nothing compiled", "--compile", "never"),
    _bench("bench-compiled", "the same with one student at a time compiled", *_COMPILED, minutes=8),
    _bench("bench-128", "batch 128, CUDA graphs", "--compile", "graph", "--batch-size", "128"),
    _bench("bench-resnet56", "resnet56 to resnet20, CUDA graphs", "--compile", "graph", "--pair", "resnet56:resnet20"),
    _bench("bench-resnet20", "resnet20 to resnet8, 28x28", "--compile", "graph", "--pair", "resnet20:resnet8"),
    Entry("losses", "what every match costs, eager and compiled", _own("losses"), 6, sliced=True),
    Entry("memory", "the peak of memory by recipe", _MEMORY, 8),
    Entry("tuning", "the loop with each means on and off", _own("tuning"), 4, sliced=True),
    Entry(
        TEACHER,
        "a resnet32x4 on CIFAR-100, 240 epochs of the standard protocol",
        _own("teacher", "--data", "{data}", "--architecture", "resnet32x4"),
        minutes=5,
        sliced=True,
    ),
    Entry(
        BANK,
        "what that teacher says of all 162 views of every training image",
        _own("cache", "--data", "{data}", "--teacher", f"{{work}}/{TEACHER}"),
        minutes=2,
        sliced=True,
        after=(TEACHER,),
    ),
    *map(_distil, SEEDS),
)
