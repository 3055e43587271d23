"""``preceptor tune``: choose a recipe's settings on held-out images, and measure them honestly afterwards."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from preceptor.compare.space import Dimension
    from preceptor.compare.tune_result import FinalResult, TrialResult, TuneResult
    from preceptor.run import RunConfig

EXAMPLES = """examples:
  preceptor tune --teacher runs/teacher --recipe kd --space training.learning_rate=0.01..0.3:log \\
      --space recipe.temperature.temperature=1..8 --out tuned
  preceptor tune --data fashion-mnist --teacher runs/teacher --space recipe=safe,kd,ka-ps \\
      --space training.epochs=5..20 --trials 40 --jobs 2 --out tuned
  preceptor tune --teacher runs/teacher --recipe label-revision --sampler grid \\
      --space recipe.correction.eta=0.2,0.5,0.8 --space student=resnet8,convnet8 --out tuned
  preceptor distill --config tuned/best.yaml --out runs/student

Each trial is judged by its accuracy on the held-out training images after its last epoch; the first has the settings as
they are. A file of --config holds a run's settings and, where it is not given as options, space (a mapping of keys to
A..B, A..B:log or a list).

The held-out accuracy of the best trial flatters itself, since the trial was chosen by it. So students with new seeds
are trained with the best settings and with the defaults, and compared on the test set, which no trial looks at.

Given again after a stop, or with more trials, the command goes on. Given again while it runs, from another terminal or
machine, it makes trials of the same search too.
"""

DEFAULTS = {"student": "convnet8", "recipe": "safe"}
TRIALS = 20
FINAL_SEEDS = 3
SHOWN = 5
"""Trials in the table, beside that of the defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import (
        SPEED,
        SPLIT,
        STUDENT,
        TRAINING,
        add_checkpoint_option,
        add_data_options,
        add_force_option,
        add_launcher_options,
        add_output_options,
        add_overrides,
        add_settings,
        add_teacher_options,
    )

    parser.epilog = EXAMPLES
    group = parser.add_argument_group("what to choose, and how")
    group.add_argument("--space", action="append", metavar="KEY=VALUES", help="A..B, A..B:log or X,... of a setting")
    group.add_argument("--trials", type=int, metavar="N", help=f"how many (default {TRIALS}; a grid's are all)")
    group.add_argument("--sampler", default="tpe", metavar="NAME", help="tpe, random or grid (default tpe)")
    group.add_argument("--pruner", default="median", metavar="NAME", help="median, hyperband or none (default median)")
    group.add_argument(
        "--final-seeds", type=int, default=FINAL_SEEDS, metavar="N", help=f"students compared (default {FINAL_SEEDS})"
    )
    add_settings(parser.add_argument_group("student"), STUDENT, defaults=DEFAULTS)
    add_teacher_options(parser)
    add_data_options(parser)
    training = [key for key in TRAINING if key != "keep_checkpoints"]
    add_settings(parser.add_argument_group("training"), (*SPLIT, *training, *SPEED))
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings and of the space")
    parser.add_argument("--jobs", type=int, metavar="N", help="trials at a time, of one thread each (default 1)")
    add_launcher_options(parser, "trials")
    add_checkpoint_option(parser)
    add_force_option(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for trials, best.yaml, tune.json"
    )
    add_overrides(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Tune and show."""
    from preceptor.cli.bars import TuneBar
    from preceptor.cli.options import launcher_of
    from preceptor.cli.printing import show
    from preceptor.cli.training import showing_findings
    from preceptor.compare.tune import BEST_FILE, tune
    from preceptor.compare.tune_final import FINAL
    from preceptor.compare.tune_result import RESULT_FILE
    from preceptor.compare.tune_trials import TuneOptions

    launcher = launcher_of(arguments)
    config, space = _plan(arguments)
    options = TuneOptions(
        arguments.trials,
        arguments.sampler,
        arguments.pruner,
        arguments.jobs,
        arguments.final_seeds,
        arguments.checkpoint_every,
        arguments.force,
    )
    silent = arguments.quiet or arguments.json
    with showing_findings(arguments) as findings, TuneBar(arguments.out / FINAL, quiet=silent) as bar:
        result = tune(config, space, arguments.out, options, launcher=launcher, on_finding=findings.add, progress=bar)
    files = [arguments.out / name for name in (BEST_FILE, RESULT_FILE)]
    show(arguments, lambda: result.model_dump(mode="json"), lambda: _lines(result, files))


def _plan(arguments: argparse.Namespace) -> "tuple[RunConfig, dict[str, Dimension]]":
    """The configuration and the space, of the options or else of the file."""
    from preceptor.cli.options import command_settings
    from preceptor.compare.space import dimension, parse_space
    from preceptor.run import read_config, resolve

    content = {**DEFAULTS, **(read_config(arguments.config) if arguments.config else {})}
    stated = content.pop("space", {})
    if not isinstance(stated, dict):
        raise InputError(f"{arguments.config}: space is {stated!r}; expected a mapping of keys to ranges or lists")
    if arguments.space:
        space = parse_space(arguments.space)
    else:
        space = {str(key): dimension(str(key), values) for key, values in stated.items()}
    config = resolve(content, command_settings(arguments), str(arguments.config or "the configuration"))
    return config, space


def _state(trial: "TrialResult") -> str:
    if trial.is_default:
        return "defaults" if trial.state == "complete" else f"defaults, {trial.state}"
    return trial.state


def _lines(result: "TuneResult", files: list[Path]) -> Iterator["str | Table"]:
    from preceptor.cli.bars import short, shown
    from preceptor.cli.printing import table

    keys = list(result.space)
    ranked = sorted(result.trials, key=lambda trial: (trial.state != "complete", -(trial.held_out or 0), trial.number))
    listed = [*ranked[:SHOWN], *(trial for trial in ranked[SHOWN:] if trial.is_default)]
    rows = [
        [
            str(trial.number),
            "–" if trial.held_out is None else f"{100 * trial.held_out:.2f}",
            *(shown(trial.settings.get(key, "")) for key in keys),
            _state(trial),
        ]
        for trial in listed
    ]
    yield table(["trial", "held out, %", *short(keys).values(), "state"], rows)
    if result.importance:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in result.importance.items())
        yield f"importance for the held-out accuracy: {shares}"
    held_out = result.best_trial.held_out or 0.0
    yield (
        f"Held out: {100 * held_out:.2f} % of {result.held_out_images:,} images. The number flatters itself: the best "
        f"of {len(result.trials)} trials was chosen by it."
    )
    yield _verdict(result.final)
    yield f"to train with the best settings: preceptor distill --config {files[0]} --out DIR"
    yield f"files: {', '.join(map(str, files))}"


def _verdict(final: "FinalResult | None") -> str:
    """What the best settings are worth on images that nothing was chosen by."""
    from preceptor.compare.format import counted, points

    if final is None:
        return "No final seeds were asked for: what the best settings are worth is not known."
    where = f"On the {final.measured_on} ({final.samples:,} images), {counted(len(final.seeds), 'new seed')}:"
    tuned, default = (
        "failed"
        if one is None
        else f"{100 * one.mean:.2f}" + (" %" if one.deviation is None else f" ± {100 * one.deviation:.2f} %")
        for one in (final.tuned, final.default)
    )
    if final.tuned is not None and final.tuned == final.default:
        return f"{where} {default}. The defaults were the best trial."
    text = f"{where} tuned {tuned}, defaults {default}"
    gain = final.difference
    if gain is None:
        return f"{text}. Runs failed, so that no difference is known."
    verdict = "clearly better" if gain.low > 0 else "clearly worse" if gain.high < 0 else "not clearly better or worse"
    return f"{text}: {points(gain.mean)} points [{points(gain.low)}, {points(gain.high)}], {verdict}."
