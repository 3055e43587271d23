"""What the benchmarks share: their result files, Markdown tables, and a process for each case."""

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "results" / "bench"
MIB, GIB = 2**20, 2**30


def in_its_own_process(work: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """Run a case in a new process, so that its peak of memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A Markdown table whose first columns are names, aligned left, and the others numbers."""
    lines = [heading, ["---"] * names + ["---:"] * (len(heading) - names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
