"""``preceptor audit``: where a teacher is wrong, where the labels are, and which recipe to try first."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from rich.table import Table

    from preceptor.audit import TeacherAudit
EXAMPLES = """examples:
  preceptor audit --teacher runs/teacher --out audits/digits
  preceptor audit --teacher outputs.npy --teacher-output probabilities --data cifar100 --teacher-accuracy 0.69 \\
      --out audits/cifar
  preceptor audit --teacher big.onnx --teacher-output logits --data folder:photos --gold checked.csv \\
      --second-opinion runs/crossfit --out audits/photos
  preceptor distill --teacher runs/teacher --recipe ka-ps --audit audits/digits --out runs/student

The teacher is asked about every training image, and so is a second opinion: a classifier cross-fitted on the given
labels. Where teacher and label disagree, the two of them say who is probably wrong, as far as it can be told: that
needs the teacher's accuracy on trusted data (--teacher-accuracy), or checked labels (--gold), best of some hundred
images drawn at random. A teacher looks right on what it was trained on: audit it on other images, or see preceptor
crossfit.
"""

DEFAULTS = {"recipe": "kd"}

PAGE = "audit.html"
"""Its name in the audit's folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import (
        SPEED,
        add_data_options,
        add_output_options,
        add_overrides,
        add_settings,
        add_teacher_options,
    )

    parser.epilog = EXAMPLES
    add_teacher_options(parser)
    add_data_options(parser)
    add_settings(parser, ["train_labels"])
    group = parser.add_argument_group("who is wrong")
    group.add_argument(
        "--second-opinion",
        default="pixels",
        metavar="SOURCE",
        help="pixels (default), teacher (its features), FILE.npy of features, or the folder of preceptor crossfit",
    )
    group.add_argument(
        "--teacher-accuracy", type=float, metavar="X", help="on trusted data of this kind, such as 0.917"
    )
    group.add_argument(
        "--gold",
        type=Path,
        metavar="FILE",
        help="checked labels: CSV with index and label, or one label an image, or -1",
    )
    add_settings(parser, SPEED)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings, or a run's run.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the audit's files")
    add_overrides(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Audit, write and show."""
    from preceptor.audit import audit, plain, write_audit
    from preceptor.audit.examine import Stage
    from preceptor.cli.printing import can_make_page, note, show
    from preceptor.cli.training import resolve_settings
    from preceptor.files import check_writable
    from preceptor.reports.audit_page import write_audit_page
    from preceptor.run.progress import ImageBar

    config = resolve_settings(arguments, DEFAULTS)
    check_writable(arguments.out)
    silent = arguments.quiet or arguments.json
    with ImageBar(quiet=silent) as bar:
        counters = {stage: bar.counter(stage) for stage in get_args(Stage)}
        result = audit(
            config,
            opinion=arguments.second_opinion,
            teacher_accuracy=arguments.teacher_accuracy,
            gold=arguments.gold,
            progress=lambda stage, done, of: counters[stage](done, of),
        )
    files = write_audit(result, arguments.out)
    if can_make_page(silent):
        write_audit_page(result, arguments.out / PAGE)
        files.append(arguments.out / PAGE)
    if not silent:
        for warning in result.warnings:
            note(f"warning: {warning}")
    show(arguments, lambda: plain(result), lambda: _lines(result, files))


def _lines(audit: "TeacherAudit", files: list[Path]) -> Iterator["str | Table"]:
    from preceptor.audit import advise
    from preceptor.audit.verdicts import DEPTHS

    report, verdicts = audit.report, audit.verdicts
    low, high = (f"{share:.1%}" for share in audit.label_error)
    wrong = f"{low} of the labels are" if low == high else f"{low} to {high} of the labels are"
    source = {"bounds": "from the data alone", "gold": "from the checked labels"}.get(
        verdicts.base_rate.source, "from the teacher's accuracy"
    )
    yield f"the teacher names the given label of {report.accuracy.value:.2%} of {report.n:,} images"
    yield f"second opinion: {audit.opinion.name}, which names {audit.opinion.accuracy:.1%} of them"
    yield f"teacher and label disagree on {len(verdicts.index):,} images; {wrong} wrong ({source})"
    yield _verdict_table(audit)
    yield "at least so probable: " + ", ".join(f"{depth} {least:.0%}" for depth, least in DEPTHS.items())
    yield f"try first: {advise(audit).line()}"
    yield f"files: {', '.join(map(str, files))}"


def _verdict_table(audit: "TeacherAudit") -> "Table":
    from rich.table import Table

    from preceptor.audit.verdicts import DEPTHS
    from preceptor.context import VERDICTS

    table = Table("who is wrong", *DEPTHS)
    for number, name in enumerate(VERDICTS):
        shown = "can't tell" if name == "ambiguous" else "the " + name.removeprefix("wrong_")
        table.add_row(shown, *(f"{int((audit.verdicts.at(depth) == number).sum()):,}" for depth in DEPTHS))
    return table
