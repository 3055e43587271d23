"""``preceptor compare``: which recipe is best for this data and teacher, with intervals and cost."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from preceptor.compare.comparison import Comparison
    from preceptor.compare.comparison_result import ArmResult, ComparisonResult

EXAMPLES = """examples:
  preceptor compare --teacher runs/teacher --out compared
  preceptor compare --data folder:photos --image-size 64 --teacher runs/teacher --student resnet8 \\
      --recipes none,kd,ka-ps,cmkd --seeds 5 --out compared
  preceptor compare --teacher runs/a --teacher runs/b --recipes none,kd,ka-dtd --vary training.learning_rate=0.05,0.1 \\
      --baseline none --out compared
  preceptor compare --config comparison.yaml --out compared
  preceptor compare --teacher runs/teacher --seeds 10 --out compared --slurm partition=gpu --slurm gpus_per_node=1

Each --teacher is a teacher of its own. A file of --config holds a run's settings and, where they are not given as
options, recipes (a list, or a mapping of names to settings such as {recipe: kd, training.learning_rate: 0.1}), teachers
(a mapping of names to paths, several of an ensemble), vary (values by key), seeds and baseline.

Given again after a stop, or with more recipes, teachers or seeds, the command goes on: what is complete is kept, and
the page and the tables are made again. Every student has a run folder under DIR/runs. The test set is used once for
each, after its last epoch.
"""

DEFAULTS = {"student": "convnet8"}
RECIPES = ("none", "kd", "safe", "drop-wrong", "ka-ps", "label-revision-kl")
SEEDS = 3

_PLAN = ("recipes", "teachers", "vary", "seeds", "baseline")
"""Keys of a file that say what to compare; the others are settings of the runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import (
        CACHE,
        SPEED,
        SPLIT,
        TEACHER,
        TRAINING,
        add_checkpoint_option,
        add_data_options,
        add_force_option,
        add_launcher_options,
        add_output_options,
        add_overrides,
        add_settings,
    )

    parser.epilog = EXAMPLES
    group = parser.add_argument_group("what to compare")
    group.add_argument("--recipes", metavar="NAME,...", help=f"names or files (default {','.join(RECIPES)})")
    group.add_argument("--seeds", type=int, metavar="N", help=f"students of each recipe (default {SEEDS})")
    group.add_argument("--vary", action="append", metavar="KEY=X,...", help="train each recipe with each value")
    group.add_argument("--baseline", metavar="NAME", help="recipe that the others are compared with (default kd)")
    add_settings(group, ["student"], defaults=DEFAULTS)
    add_settings(parser.add_argument_group("teachers"), (*TEACHER, *CACHE))
    add_data_options(parser)
    training = [key for key in TRAINING if key not in ("seed", "keep_checkpoints")]
    add_settings(parser.add_argument_group("training"), (*SPLIT, *training, *SPEED, "audit"))
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings and of what to compare")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="passes at a time (default: by the number of cores; Slurm: all)"
    )
    add_launcher_options(parser, "passes")
    add_checkpoint_option(parser)
    add_force_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for runs, tables and page")
    add_overrides(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Compare and show."""
    from preceptor.cli.bars import ComparisonBar
    from preceptor.cli.options import launcher_of
    from preceptor.cli.printing import note, show
    from preceptor.cli.training import showing_findings
    from preceptor.compare.run_comparison import run_comparison

    plan, launcher = _plan(arguments), launcher_of(arguments)
    silent = arguments.quiet or arguments.json
    with showing_findings(arguments) as findings, ComparisonBar(arguments.out, quiet=silent) as bar:
        result = run_comparison(
            plan,
            arguments.out,
            jobs=arguments.jobs,
            launcher=launcher,
            checkpoint_seconds=arguments.checkpoint_every,
            on_finding=findings.add,
            force=arguments.force,
            progress=bar,
        )
    files = write_files(result, arguments.out, quiet=silent)
    for name, failed in result.unfinished.items():
        note(f"warning: {name} was not trained: {failed[0].message}")
    show(arguments, lambda: result.model_dump(mode="json"), lambda: comparison_lines(result, files))


def write_files(result: "ComparisonResult", out: Path, quiet: bool) -> list[Path]:
    """The files of a comparison's folder, its page among them; a line where that can't be made."""
    from preceptor.cli.printing import can_make_page
    from preceptor.compare.comparison_csv import CSV_FILE
    from preceptor.compare.comparison_result import PAGE_FILE, RESULT_FILE
    from preceptor.reports.comparison_page import write_comparison_page

    files = [out / RESULT_FILE, out / CSV_FILE]
    if not can_make_page(quiet):
        return files
    write_comparison_page(result, out / PAGE_FILE)
    return [*files, out / PAGE_FILE]


def _plan(arguments: argparse.Namespace) -> "Comparison":
    from preceptor.cli.options import command_settings
    from preceptor.compare.comparison import comparison
    from preceptor.run import read_config

    content = read_config(arguments.config) if arguments.config else {}
    if isinstance(content.get("run"), dict):  # a comparison's plan.yaml
        content = {**content["run"], **{key: value for key, value in content.items() if key != "run"}}
    stated = {key: content.pop(key) for key in _PLAN if key in content}
    for key in ("seed", "recipe"):
        content.pop(key, None)  # of a run.yaml: here there are several
    settings = dict(command_settings(arguments))
    teachers = settings.pop("teacher", None) or stated.get("teachers") or content.pop("teacher", ())
    content.pop("teacher", None)
    recipes = arguments.recipes.split(",") if arguments.recipes else stated.get("recipes", RECIPES)
    return comparison(
        recipes,
        run={**DEFAULTS, **content, **settings},
        teachers=[teachers] if isinstance(teachers, str) else teachers,
        vary=_vary(arguments.vary) if arguments.vary else stated.get("vary"),
        seeds=stated.get("seeds", SEEDS) if arguments.seeds is None else arguments.seeds,
        baseline=arguments.baseline or stated.get("baseline"),
    )


def _vary(texts: list[str]) -> Mapping[str, list[Any]]:
    """Values by key, as ``training.learning_rate=0.05,0.1`` states them."""
    from preceptor.config import parse_override

    varied: dict[str, list[Any]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if not values:
            raise InputError(f"--vary {text}: expected KEY=X,..., such as training.learning_rate=0.05,0.1")
        varied[key] = [parse_override(f"{key}={value}")[1] for value in values.split(",")]
    return varied


def comparison_lines(result: "ComparisonResult", files: list[Path]) -> Iterator["str | Table"]:
    """A comparison's tables, what they show, and where its files are."""
    from preceptor.cli.printing import table
    from preceptor.compare.findings import sentences, tables
    from preceptor.compare.format import counted

    beside = any(arm.beside_teacher for arm in result.arms)
    heading = ["recipe", "accuracy, %", f"difference to {result.baseline}", "ECE, %"]
    heading += ["copied, %"] if beside else []
    for one in tables(result):
        yield table(heading, [_row(arm, beside) for arm in one.arms], title=one.heading or None)
        yield " ".join(sentences(one, result)).replace("\N{NO-BREAK SPACE}", " ")
    yield (
        f"Mean and deviation over seeds on the {result.measured_on} ({result.samples:,} images), used once for each "
        f"student. Differences are in points, paired; their intervals are corrected for "
        f"{counted(result.compared, 'comparison')}."
    )
    if beside:
        yield "Copied: share of the teacher's errors there that the student repeats."
    yield f"files: {', '.join(map(str, files))}"


def _row(arm: "ArmResult", beside: bool) -> list[str]:
    from preceptor.compare.format import points

    difference = arm.difference
    spread = "" if arm.accuracy.deviation is None else f" ± {100 * arm.accuracy.deviation:.2f}"
    gain = "–"
    if difference is not None:
        gain = f"{points(difference.mean)} [{points(difference.low)}, {points(difference.high)}]"
    row = [arm.recipe, f"{100 * arm.accuracy.mean:.2f}{spread}", gain, f"{100 * arm.ece.mean:.1f}"]
    if beside:
        meets = arm.beside_teacher or {}
        wrong = sum(meets.get(kind, 0.0) for kind in ("mended", "copied", "other_mistake"))
        row.append(f"{100 * meets['copied'] / wrong:.0f}" if wrong else "–")
    return row
