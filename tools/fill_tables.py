"""Writes the tables of result files into documents, between the marks that name them: ``fill_tables.py README.md``."""

import re
import sys
from pathlib import Path

from preceptor.studies import load_result
from preceptor.studies.table import markdown

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"<!-- table: (?P<file>\S+) -->\n.*?<!-- end of table -->", re.DOTALL)
"""The file is named from the repository's root, wherever the document lies."""


def filled(document: str, root: Path = ROOT) -> str:
    """The document with every marked table made anew from its result file, or a word on how to make a missing one."""

    def table(match: re.Match[str]) -> str:
        file = match["file"]
        shown = markdown(load_result(root / file)) if (root / file).exists() else missing(file)
        return f"<!-- table: {file} -->\n\n{shown}\n\n<!-- end of table -->"

    return MARKED.sub(table, document)


def missing(file: str) -> str:
    """What stands in the place of a table whose result file is not there."""
    return f"*No results yet: `preceptor reproduce {Path(file).stem} --out {Path(file).parent}` makes them.*"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
