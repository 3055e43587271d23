"""Write the tables of result files into documents, between the marks that name them: ``fill_tables.py README.md``.

A file of a study is shown as such, and so is one of ``preceptor bench``. For every other, ``markdown`` of the benchmark
in ``experiments/bench`` shows it: that of its "kind" or else of its own name.
"""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from experiments.speed.table import speed_markdown  # noqa: E402
from experiments.studies.engine import load_result  # noqa: E402
from experiments.studies.engine.table import markdown  # noqa: E402

MARKED = re.compile(r"<!-- table: (?P<file>\S+) -->\n.*?<!-- end of table -->", re.DOTALL)
"""The file is named from the repository's root, wherever the document lies; ``FILE#PART`` is a part of its tables."""
BENCH = "results/bench"


def filled(document: str, root: Path = ROOT) -> str:
    """The document with every marked table made from its result file, or how to make a missing file."""

    def fill(match: re.Match[str]) -> str:
        file, _, part = match["file"].partition("#")
        table = table_of(root / file, part or "markdown") if (root / file).exists() else missing(file)
        return f"<!-- table: {match['file']} -->\n\n{table}\n\n<!-- end of table -->"

    return MARKED.sub(fill, document)


def table_of(path: Path, part: str = "markdown") -> str:
    """The tables of a result file of any kind; of a benchmark's the ``part`` that its module has a function for."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "study" in content:
        return markdown(load_result(path))
    kind = content.get("kind", path.stem)
    if kind == "speed":
        return speed_markdown(content)
    table: str = getattr(import_module(f"experiments.bench.{kind}"), part)(content)
    return table


def missing(file: str) -> str:
    """The text in place of a table whose result file is missing."""
    path = Path(file)
    if str(path.parent) != BENCH:
        return f"*No results yet: `python -m experiments.studies {path.stem} --out {path.parent}` makes them.*"
    command = f"python -m experiments.bench.{path.stem}"
    if path.stem == "unreliable-supervision":
        command = "python -m experiments.unreliable --out FOLDER"
    if path.stem == "speed":
        command = f"preceptor bench --all --rounds 9 --out {file}"
    return f"*No results yet: `{command}` makes them.*"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
