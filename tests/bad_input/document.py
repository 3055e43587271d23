"""Writes docs/bad-input.md from the table that the tests go through: ``python -m tests.bad_input.document``."""

from collections.abc import Iterable
from pathlib import Path

from tests.bad_input import arrays, images, settings, teachers
from tests.bad_input.workbench import Row

PARTS = {
    "Images in folders": images.ROWS,
    "Images and labels in arrays": arrays.ROWS,
    "Teachers, students, caches, scores": teachers.ROWS,
    "Configurations, folders, the machine": settings.ROWS,
}

BEFORE = """# Bad input

What is said of whatever is wrong, and the exit code: 2 where something handed in is wrong, 3 where the machine lacks
something. It is one line on standard error, `preceptor: ` and what stands here; nothing is overwritten, and nothing is
left behind. "…" stands for words of a library or of the machine. Each row is a test of its own (`tests/bad_input`),
from which this page is written (`python -m tests.bad_input.document`).

## Exit codes

| exit code | what it means |
| ---: | --- |
| 0 | done |
| 2 | something handed in is wrong |
| 3 | the machine lacks something |
| 4 | a training was stopped by Ctrl-C or SIGTERM, with a checkpoint to go on from (`preceptor resume`) |
| 5 | what was asked for cannot be guaranteed (`preceptor calibrate`) |
| 130, 143 | anything else was ended by Ctrl-C, by SIGTERM; what was half written is taken away |
| 141 | whoever read the output, such as `head`, had seen enough |

## Images that are converted

Where pixels have one meaning in 8 bits a channel, gray or RGB, they are converted without a message: black and
white, gray, palettes, RGB, CMYK, YCbCr and LAB; of 16-bit color the upper 8 bits; of a camera's JPEG with a preview in
it (MPO) the photograph. Images are turned upright by their EXIF orientation, and transparent pixels are composed on
white, in training, `predict` and the example in `examples/serve_onnx` alike. If all images of a folder are gray they
stay gray; if any is not, all become RGB. What has more than one meaning is refused: 16-bit gray, whose values have no
common scale, floating point, and several pictures in one file.

Passed by are hidden files, `Thumbs.db`, `desktop.ini`, `__MACOSX`, and texts by their suffix (`.json`, `.csv`, `.tsv`,
`.txt`, `.xml`, `.yaml`, `.yml`, `.md`, `.html`). Class names are compared in Unicode normal form C.

No image of more than 67,108,864 pixels (8,192 x 8,192) is decoded.

## Going on without bad images

`--skip-bad-images` (`skip_bad_images: true`) leaves out each image that cannot be read or decoded, has too many pixels,
or no one meaning; every copy of an image in two classes; the training copy of an image in the validation or test set.
Without it the error names the first and counts the others. With it, one line on standard error counts them and names
the first three, `skipped_images.txt` in the run's folder names all, each with its reason, and the record in `run.yaml`
has their number. What is left out follows from the files alone. A class, a validation or a test set without any image
left is still an error, and so are images of different sizes without `--image-size`.
"""


def document() -> str:
    """The page."""
    return BEFORE + "".join(f"\n## {title}\n\n{_table(rows)}" for title, rows in PARTS.items())


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| {row.wrong} | {_code(row.says)} | {row.code} |" for row in rows]
    return "\n".join(["| what is wrong | what it says | exit code |", "|---|---|---|", *lines]) + "\n"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "bad-input.md").write_text(document(), encoding="utf-8")
