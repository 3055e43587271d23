"""``preceptor predict``: label images with a student."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from preceptor.cli.options import add_output_options
from preceptor.cli.printing import printable
from preceptor.errors import InputError
from preceptor.files import check_free, csv_line, whole_file

if TYPE_CHECKING:
    from preceptor.data.sources import ImageSource
    from preceptor.models import ModelCard
    from preceptor.run.prediction import Prediction, Predictor
    from preceptor.run.progress import ImageBar

EXAMPLES = """examples:
  preceptor predict runs/student photo.png
  preceptor predict runs/student photos/ --out answers.csv
  preceptor predict runs/student images.npy --format jsonl --top-k 3

An image that cannot be read is a row with its error. A student that was calibrated to abstain (preceptor calibrate)
gives no label where it does.
"""

Format = Literal["jsonl", "csv", "table"]

FORMATS_OF_FILES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".txt": "table"}

ABSTAINED = "(abstained)"
UNREADABLE = "(unreadable)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        metavar="INPUT",
        help="images, folders of images, and .npy or .npz files of uint8 images",
    )
    parser.add_argument("--out", type=Path, help="file to write; must not exist (default: standard output)")
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "table"),
        help="of the rows (default: by the name of --out, .jsonl, .csv or .txt, else a table)",
    )
    parser.add_argument("--top-k", type=int, help="classes to name of each image (default 5; in a table 1)")
    parser.add_argument("--batch-size", type=int, default=256, help="images at a time (default 256)")
    parser.add_argument("--score", help="by which its confidence is shown (default: that it abstains by)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the score, such as p=3")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


@dataclass
class _Count:
    """Images so far, and how many of them without a label."""

    images: int = 0
    abstained: int = 0
    errors: int = 0
    first_error: str = ""

    def add(self, prediction: "Prediction") -> None:
        self.images += 1
        self.abstained += bool(prediction.abstained)
        if prediction.error is not None:
            self.errors += 1
            self.first_error = self.first_error or f"{prediction.input}: {prediction.error}"


def run(arguments: argparse.Namespace) -> None:
    """Predict, and write a row for each image."""
    from preceptor.cli.calibrate import score_options
    from preceptor.data.sources import open_image_source
    from preceptor.run.prediction import TOP_K, Predictor

    form = _format(arguments)
    if arguments.out is not None:
        check_free(arguments.out)
    predictor = Predictor(
        arguments.run,
        score=arguments.score,
        options=score_options(arguments.option),
        top_k=arguments.top_k if arguments.top_k is not None else (1 if form == "table" else TOP_K),
        device=arguments.device,
    )
    count = _Count()
    _write(arguments, form, predictor, [open_image_source(path) for path in arguments.inputs], count)
    if count.errors == count.images:
        raise InputError(f"none of the {count.images:,} images could be used; the first: {count.first_error}")
    if arguments.json and arguments.out is not None:
        summary = {"images": count.images, "abstained": count.abstained, "errors": count.errors}
        print(json.dumps({"run": str(arguments.run), "out": str(arguments.out), **summary}))
    elif not arguments.json and not arguments.quiet:
        print(printable(_in_words(count, arguments.out)), file=sys.stderr)


def _format(arguments: argparse.Namespace) -> Format:
    if arguments.format is not None:
        return cast(Format, arguments.format)
    if arguments.out is None:
        return "jsonl" if arguments.json else "table"
    if arguments.out.suffix not in FORMATS_OF_FILES:
        known = ", ".join(FORMATS_OF_FILES)
        raise InputError(f"{arguments.out}: in which format? give --format, or a name that ends in {known}")
    return FORMATS_OF_FILES[arguments.out.suffix]


def _write(
    arguments: argparse.Namespace, form: Format, predictor: "Predictor", sources: list["ImageSource"], count: _Count
) -> None:
    from preceptor.run.progress import ImageBar

    drawn_into = arguments.out is None and sys.stdout.isatty()  # rows on the screen are progress enough
    with ImageBar(quiet=arguments.quiet or arguments.json or drawn_into) as bar:
        bar.start("predicting", sum(len(source) for source in sources))
        pictures = (picture for source in sources for picture in source.images(predictor.form))
        predictions = _counted(predictor.predictions(pictures, arguments.batch_size), count, bar)
        rows = lines(predictions, form, predictor.card, predictor.top_k)
        if drawn_into:
            rows = map(printable, rows)
        with nullcontext(sys.stdout) if arguments.out is None else whole_file(arguments.out) as file:
            file.writelines(f"{row}\n" for row in rows)


def _counted(predictions: Iterable["Prediction"], count: _Count, bar: "ImageBar") -> Iterator["Prediction"]:
    for prediction in predictions:
        count.add(prediction)
        bar.advance(1)
        yield prediction


def _in_words(count: _Count, out: Path | None) -> str:
    abstained = f", abstained on {count.abstained:,}" if count.abstained else ""
    errors = f", {count.errors:,} could not be used, the first: {count.first_error}" if count.errors else ""
    return f"{count.images:,} images{abstained}{errors}{'' if out is None else f'; written to {out}'}"


def lines(predictions: Iterable["Prediction"], form: Format, card: "ModelCard", top_k: int) -> Iterator[str]:
    """Predictions as text, a line each, after a header where there is one; without line breaks at the end.

    JSON Lines: every field of :class:`Prediction`, ``top`` as objects of ``label`` and ``probability``, in ASCII.

    CSV (RFC 4180, but for the line break): the same fields; ``top_1`` and ``top_1_probability`` to the last of
    `top_k`, and the set as a JSON list. Text that a spreadsheet would take for a formula, such as a name that begins
    with ``=``, is preceded by an apostrophe.

    A table: label, probability, score, the set where the student gives one, the input, and, where `top_k` exceeds 1,
    the likeliest classes. What cannot be printed is escaped.

    Predictions, which name `top_k` classes, are taken one at a time.
    """
    if form == "jsonl":
        return map(_json_line, predictions)
    return _csv_lines(predictions, top_k) if form == "csv" else _table_lines(predictions, card, top_k)


def _json_line(prediction: "Prediction") -> str:
    top = [{"label": label, "probability": probability} for label, probability in prediction.top]
    return json.dumps({**vars(prediction), "top": top}, allow_nan=False)


def _csv_lines(predictions: Iterable["Prediction"], top_k: int) -> Iterator[str]:
    ranks = [f"top_{rank}{what}" for rank in range(1, top_k + 1) for what in ("", "_probability")]
    yield csv_line(["input", "index", "label", "probability", "abstained", "score", *ranks, "set", "error"])
    for prediction in predictions:
        top: list[str | float | None] = [cell for pair in prediction.top for cell in pair]
        abstained = None if prediction.abstained is None else str(prediction.abstained).lower()
        answer = [prediction.input, prediction.index, prediction.label, prediction.probability, abstained]
        top += [None] * (len(ranks) - len(top))
        inside = None if prediction.set is None else json.dumps(prediction.set)
        yield csv_line([*answer, prediction.score, *top, inside, prediction.error])


def _table_lines(predictions: Iterable["Prediction"], card: "ModelCard", top_k: int) -> Iterator[str]:
    width = max(len(name) for name in (*card.class_names, ABSTAINED, UNREADABLE))
    yield f"{'label':<{width}}  probability        score  input"
    for prediction in predictions:
        where = prediction.input if prediction.index is None else f"{prediction.input} [{prediction.index}]"
        if prediction.error is not None:
            yield printable(f"{UNREADABLE:<{width}}  {'':>11}  {'':>11}  {where}: {prediction.error}")
            continue
        label = prediction.label or ABSTAINED
        more = [where]
        if prediction.set is not None:
            more.append(f"one of {{{', '.join(prediction.set)}}}")
        if top_k > 1:
            more.append(", ".join(f"{name} {probability:.2%}" for name, probability in prediction.top))
        yield printable(
            f"{label:<{width}}  {prediction.probability:>11.2%}  {prediction.score:>11.6g}  {'  '.join(more)}"
        )
