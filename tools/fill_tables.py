"""Writes the tables of result files into documents, between the marks that name them: ``fill_tables.py README.md``.

A file of a study is shown as such, and so is one of ``preceptor bench``. Every other comes from a script in benchmarks,
that of its kind or else of its own name, whose ``markdown`` shows it.
"""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from preceptor.speed import load_speed, speed_markdown
from preceptor.studies import load_result
from preceptor.studies.table import markdown

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"<!-- table: (?P<file>\S+) -->\n.*?<!-- end of table -->", re.DOTALL)
"""The file is named from the repository's root, wherever the document lies."""
BENCH = "results/bench"


def filled(document: str, root: Path = ROOT) -> str:
    """The document with every marked table made anew from its result file, or a word on how to make a missing one."""

    def table(match: re.Match[str]) -> str:
        file = match["file"]
        shown = shown_by_its_kind(root / file) if (root / file).exists() else missing(file)
        return f"<!-- table: {file} -->\n\n{shown}\n\n<!-- end of table -->"

    return MARKED.sub(table, document)


def shown_by_its_kind(path: Path) -> str:
    """The tables of a result file, whatever it is of."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "study" in content:
        return markdown(load_result(path))
    kind = content.get("kind", path.stem)
    if kind == "speed":
        return speed_markdown(load_speed(path))
    sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]
    shown: str = import_module(f"benchmarks.{kind}").markdown(content)
    return shown


def missing(file: str) -> str:
    """What stands in the place of a table whose result file is not there."""
    path = Path(file)
    if str(path.parent) != BENCH:
        return f"*No results yet: `preceptor reproduce {path.stem} --out {path.parent}` makes them.*"
    is_speed = path.stem == "speed"
    command = f"preceptor bench --all --rounds 9 --out {file}" if is_speed else f"python benchmarks/{path.stem}.py"
    return f"*No results yet: `{command}` makes them.*"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
