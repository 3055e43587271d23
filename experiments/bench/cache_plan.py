"""What a cache of ImageNet takes, as ``preceptor cache --plan`` computes it: bytes, teacher passes and time."""

from typing import Any

from rich.filesize import decimal

from experiments.bench.common import RESULTS, table, write_json
from preceptor.compare.format import duration
from preceptor.teachers.cache import Layout

DATA = {"ImageNet-1k": (1_281_167, 1000), "ImageNet-21k": (14_197_122, 21_841)}
"""Images and classes. Deng et al. 2009 and Russakovsky et al. 2015, as commonly distributed."""
VIEWS, KEPT = (1, 10), (None, 20)
RATE, PROCESSES = 2000, 8
"""Images a second of one teacher, an example to scale by; and how many fill together."""
RESULT = RESULTS / "cache_plan.json"


def plan(name: str, views: int, top_k: int | None) -> dict[str, Any]:
    samples, classes = DATA[name]
    layout = Layout(samples=samples, views=views, classes=classes, top_k=top_k)
    return {
        "data": name,
        **layout.model_dump(include={"samples", "views", "classes", "top_k"}),
        "entry_bytes": layout.entry_bytes,
        "bytes": layout.bytes,
        "queries": layout.queries(),
        "seconds": layout.queries() / RATE,
    }


def plans() -> dict[str, Any]:
    return {
        "images_per_second": RATE,
        "processes": PROCESSES,
        "plans": [plan(name, views, top_k) for name in DATA for views in VIEWS for top_k in KEPT],
    }


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    rate, processes = content["images_per_second"], content["processes"]
    heading = "data|logits kept|views|bytes an entry|size|images through the teacher"
    heading += f"|at {rate:,} images/s|in {processes} processes"
    rows = [
        [
            each["data"],
            _kept(each),
            f"{each['views']}",
            f"{each['entry_bytes']:,}",
            decimal(each["bytes"]),
            f"{each['queries']:,}",
            duration(each["seconds"]),
            duration(each["seconds"] / processes),
        ]
        for each in content["plans"]
    ]
    made = (
        "Computed, not measured; the rate is an example. Made by `python -m experiments.bench.cache_plan`, and line by "
        "line by `preceptor cache DIR --plan --images N --classes N --views N --top-k N --images-per-second N`."
    )
    return f"{table(heading.split('|'), rows, names=2)}\n\n{made}"


def _kept(each: dict[str, Any]) -> str:
    return "all" if each["top_k"] is None else f"the {each['top_k']} largest"


if __name__ == "__main__":
    print(markdown(plans()))
    write_json(plans(), RESULT)
