"""Writes the tables of result files into a document, between the marks that name them: ``fill_tables.py README.md``."""

import re
import sys
from pathlib import Path

from preceptor.studies import load_result
from preceptor.studies.table import markdown

MARKED = re.compile(r"<!-- table: (?P<file>\S+) -->\n.*?<!-- end of table -->", re.DOTALL)


def filled(document: str, root: Path) -> str:
    """The document with every marked table made anew from its result file."""

    def table(match: re.Match[str]) -> str:
        file = match["file"]
        return f"<!-- table: {file} -->\n\n{markdown(load_result(root / file))}\n\n<!-- end of table -->"

    return MARKED.sub(table, document)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8"), path.resolve().parent), encoding="utf-8")
