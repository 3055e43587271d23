"""A pair and a case so small that a round takes milliseconds, and a result made by hand."""

import torch

from experiments.speed.cases import Case, Pair, RandomData, random_data
from experiments.speed.machine import Machine
from experiments.speed.our_loop import Bench
from experiments.speed.result import CaseResult, Row, SpeedResult, Spread
from preceptor.data import ImageSet, Normalization
from preceptor.training import Compile

CPU = torch.device("cpu")
TINY = Pair("resnet8", "resnet8", 1, 8, 3, 40, Normalization((0.5,), (0.25,)), (4,), 8)
CASE = Case(TINY, batch_size=4, batches=2)


def tiny_bench(compile: Compile = "never") -> Bench:  # noqa: A002
    data: RandomData = random_data(CASE)
    train = ImageSet(data.train.images, data.train.labels)
    return Bench(CASE, data, train, CPU, compile)


def machine(**changes: object) -> Machine:
    given = {
        "device": "cpu",
        "cpu": "An Example 3000",
        "flags": ("avx2",),
        "cores": 2,
        "threads": 2,
        "gpu": None,
        "lacks_bf16": None,
        "load": 0.25,
        "settings": {},
        "versions": {"torch": "2.13.0"},
    }
    return Machine.model_validate({**given, **changes})


def exactly(value: float) -> Spread:
    return Spread(median=value, low=value - 0.1, high=value + 0.1)


def row(variant: str, to_baseline: float, to_alone: float | None = None, **changes: object) -> Row:
    given = {
        "variant": variant,
        "about": f"what {variant} does",
        "student": "fp32",
        "teacher": None,
        "students": 1,
        "seconds": [1.0, 2.0],
        "first_seconds": 9.0,
        "images_per_second": exactly(1234.5),
        "to_baseline": exactly(to_baseline),
        "to_alone": None if to_alone is None else exactly(to_alone),
        "notes": [],
    }
    return Row.model_validate({**given, **changes})


def case_result(*rows: Row, pair: str = "resnet32x4:resnet8x4", **changes: object) -> CaseResult:
    given = {"pair": pair, "image": (3, 32, 32), "classes": 100, "batch_size": 64, "batches": 8, "rounds": 2}
    return CaseResult.model_validate({**given, "rows": [row("baseline", 1.0), *rows], "left_out": {}, **changes})


def speed_result(*cases: CaseResult, **changes: object) -> SpeedResult:
    given = {"command": "preceptor bench", "machine": machine(), "compile": "auto", "run_epochs": 240}
    return SpeedResult.model_validate({**given, "cases": list(cases), "seconds": 90.0, **changes})
