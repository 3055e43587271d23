"""The table of all predictions of an evaluation, as CSV."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from preceptor.context import UNLABELED
from preceptor.files import csv_line, whole_file
from preceptor.metrics.scores import answered_class, softmax_response
from preceptor.reports.page import check_replaceable
from preceptor.run.evaluation import Evaluation

COLUMNS = (
    *("image", "index", "label", "prediction", "confidence"),
    *("teacher_prediction", "teacher_confidence", "abstained"),
)
"""``image`` is a file's name in the data set's folder, or the split and the index; confidences are probabilities."""


def check_table_path(path: Path) -> None:
    """Refuse a path that holds anything but an earlier table of predictions.

    Raises:
        InputError: a folder or another file is there.
        MachineError: its folder cannot be written to.
    """
    check_replaceable(path, csv_line(COLUMNS), "table of predictions")


def write_prediction_table(evaluation: Evaluation, path: Path) -> None:
    """Write a row for each image, in the order of the data, in place of an earlier table at most.

    ``label`` is empty without one, the teacher's columns where none was queried, ``abstained`` ("true" or "false")
    without a decision; ``prediction`` is the likeliest class, answered or not. Text that begins like a formula gets an
    apostrophe, see :func:`preceptor.files.csv_line`.

    Raises:
        InputError: another file is there.
        MachineError: it cannot be written.
    """
    check_table_path(path)
    with whole_file(path) as file:
        file.writelines(f"{line}\n" for line in _lines(evaluation))


def _lines(evaluation: Evaluation) -> Iterator[str]:
    names, known, nothing = evaluation.data.card.class_names, evaluation.predictions, repeat(None)
    labels, teacher = evaluation.data.images.labels.tolist(), known.teacher
    rows = zip(
        labels,
        known.prediction.tolist(),
        softmax_response(known.class_logits).tolist(),
        nothing if teacher is None else answered_class(teacher).tolist(),
        nothing if teacher is None else softmax_response(teacher).tolist(),
        nothing if evaluation.abstained is None else evaluation.abstained.tolist(),
        strict=False,
    )
    yield csv_line(COLUMNS)
    for index, (label, prediction, sure, theirs, teacher_sure, silent) in enumerate(rows):
        yield csv_line(
            [
                evaluation.data.image_name(index),
                index,
                None if label == UNLABELED else names[label],
                names[prediction],
                sure,
                None if theirs is None else names[theirs],
                teacher_sure,
                None if silent is None else str(silent).lower(),
            ]
        )
