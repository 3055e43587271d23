"""Predictions as lines of text: JSON Lines, CSV, or a table to read."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from preceptor.cli.printing import printable
from preceptor.errors import unknown_name
from preceptor.models import ModelCard
from preceptor.run.prediction import Prediction

Format = Literal["jsonl", "csv", "table"]
FORMATS: tuple[Format, ...] = get_args(Format)

ABSTAINED = "(abstained)"
UNREADABLE = "(unreadable)"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a cell as a formula; OWASP, "CSV Injection"."""


def lines(predictions: Iterable[Prediction], format: Format, card: ModelCard, top_k: int) -> Iterator[str]:  # noqa: A002
    """Predictions as text, a line each, after a header where there is one; without line breaks at the end.

    JSON Lines: every field of :class:`Prediction`, ``top`` as objects of ``label`` and ``probability``, in ASCII.

    CSV (RFC 4180, but for the line break): the same fields; ``top_1`` and ``top_1_probability`` to the last of
    `top_k`, and the set as a JSON list. Text that a spreadsheet would take for a formula, such as a name that begins
    with ``=``, is preceded by an apostrophe.

    A table: label, probability, score, the set where the student gives one, the input, and, where `top_k` exceeds 1,
    the likeliest classes. What cannot be printed is escaped.

    Args:
        predictions: in order; taken one at a time.
        format: "jsonl", "csv" or "table".
        card: the student's.
        top_k: how many classes a prediction names.

    Raises:
        InputError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if format == "jsonl":
        return map(_json_line, predictions)
    return _csv_lines(predictions, top_k) if format == "csv" else _table_lines(predictions, card, top_k)


def _json_line(prediction: Prediction) -> str:
    content = {
        "input": prediction.input,
        "index": prediction.index,
        "label": prediction.label,
        "probability": prediction.probability,
        "abstained": prediction.abstained,
        "score": prediction.score,
        "top": [{"label": label, "probability": probability} for label, probability in prediction.top],
        "set": prediction.set,
        "error": prediction.error,
    }
    return json.dumps(content, allow_nan=False)


def _csv_lines(predictions: Iterable[Prediction], top_k: int) -> Iterator[str]:
    ranks = [f"top_{rank}{what}" for rank in range(1, top_k + 1) for what in ("", "_probability")]
    yield _csv_line(["input", "index", "label", "probability", "abstained", "score", *ranks, "set", "error"])
    for prediction in predictions:
        top = [cell for pair in prediction.top for cell in pair]
        abstained = None if prediction.abstained is None else str(prediction.abstained).lower()
        row = [
            prediction.input,
            prediction.index,
            prediction.label,
            prediction.probability,
            abstained,
            prediction.score,
        ]
        inside = None if prediction.set is None else json.dumps(prediction.set)
        yield _csv_line([*row, *top, *[None] * (len(ranks) - len(top)), inside, prediction.error])


def _csv_line(cells: Iterable[str | float | None]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in cells
    )
    return line.getvalue()


def _table_lines(predictions: Iterable[Prediction], card: ModelCard, top_k: int) -> Iterator[str]:
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
