"""Writes docs/bad-input.md from the table that the tests go through: ``python -m tests.bad_input.document``."""

from collections.abc import Iterable
from pathlib import Path

from tests.bad_input import arrays, images, settings, teachers
from tests.bad_input.workbench import Row

PARTS = {
    "Images in folders, lists and archives": images.ROWS,
    "Images and labels in arrays": arrays.ROWS,
    "Teachers, students, caches, scores": teachers.ROWS,
    "Configurations, folders, the machine": settings.ROWS,
}

BEFORE = """# Bad input

Bad input gets one line on standard error, `preceptor: ` and the message below. Nothing is overwritten and nothing is
left behind. "…" stands for text that depends on a library or the machine. Each row is a test in `tests/bad_input`;
`python -m tests.bad_input.document` writes this page from them.

## Exit codes

| exit code | what it means |
| ---: | --- |
| 0 | done |
| 2 | bad input: a file, a setting, an argument |
| 3 | a problem of the machine: memory, permissions, a missing package or device |
| 4 | training stopped by Ctrl-C, SIGTERM, SIGHUP or SIGUSR1, with checkpoints: `preceptor resume` or the same command |
| 5 | the requested guarantee is not possible (`preceptor calibrate`) |
| 129, 130, 138, 143 | another verb ended by SIGHUP, Ctrl-C, SIGUSR1, SIGTERM; partial files are removed |
| 141 | the reader of the output (`head`, say) closed it |

## Images that are converted

Images whose pixels have one meaning as 8-bit gray or RGB are converted silently: black and white, gray, palettes, RGB,
CMYK, YCbCr, LAB; of 16-bit color the upper 8 bits; of a camera's JPEG with a preview (MPO) the photograph. They are
turned upright by their EXIF orientation; transparent pixels are composed on white. A folder of only gray images stays
gray; otherwise all become RGB. Images with more than one meaning are refused: 16-bit gray, floating point, several
pictures in one file.

Ignored are hidden files, `Thumbs.db`, `desktop.ini`, `__MACOSX`, and texts by their suffix (`.json`, `.csv`, `.tsv`,
`.txt`, `.xml`, `.yaml`, `.yml`, `.md`, `.html`). Class names are compared in Unicode normal form C.

No image of more than 67,108,864 pixels (8,192 x 8,192) is decoded.

## Skipping bad images

`--skip-bad-images` (`skip_bad_images: true`) leaves out images that a row under "Images in folders, lists and archives"
would refuse: unreadable, too large or ambiguous ones, every copy of an image in two classes, the training copy of a
test image. One line on standard error gives their number and the first three; `skipped_images.txt` in the run's folder
lists all with reasons; `run.yaml` records the number. The choice depends on the files alone. An empty class or test set
is still an error, and so are images of different sizes without `--image-size`.

Images that would fill more memory than `--memory-limit` are not all decoded beforehand: without `--skip-bad-images` one
that is damaged ends the run when it is met.
"""


def document() -> str:
    """The page."""
    return BEFORE + "".join(f"\n## {title}\n\n{_table(rows)}" for title, rows in PARTS.items())


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| {row.wrong} | {_code(row.says)} | {row.code} |" for row in rows]
    return "\n".join(["| what is wrong | message | exit code |", "|---|---|---|", *lines]) + "\n"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "bad-input.md").write_text(document(), encoding="utf-8")
