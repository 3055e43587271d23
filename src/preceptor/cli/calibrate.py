"""``preceptor calibrate``: choose an abstention threshold with a risk guarantee, or prediction sets."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.metrics import RiskTarget, SetTarget
    from preceptor.models import ModelCard
    from preceptor.run.calibration import Calibration
    from preceptor.run.calibration_data import CalibrationSource

EXAMPLES = """examples:
  preceptor calibrate runs/student --max-risk 0.02
  preceptor calibrate runs/student --max-risk 0.05 --confidence 0.99 --by-class
  preceptor calibrate runs/student --sets aps --alpha 0.1
  preceptor calibrate runs/student --max-risk 0.05 --data folder:fresh-photos
  preceptor calibrate runs/student --forget

The calibration images must have been used for nothing else: by default those that the run held out. The result is
stored in student.json; preceptor predict, evaluate and export use it. Exit code 5: the risk cannot be guaranteed;
the message names one that can, and nothing is written.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    group = parser.add_argument_group("abstaining")
    group.add_argument(
        "--max-risk", type=float, metavar="SHARE", help="errors among its answers, at most: 0.02 is 2 %%"
    )
    group.add_argument("--confidence", type=float, help="of the guarantee (default 0.95)")
    group.add_argument("--score", help="by which it abstains: margin, energy, ... (default softmax_response)")
    group.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the score, such as p=3")
    group.add_argument("--by-class", action="store_true", help="a threshold and a guarantee for each predicted class")
    group.add_argument("--each", action="store_true", help="by class, each guarantee by itself rather than all at once")
    group = parser.add_argument_group("prediction sets")
    group.add_argument("--sets", metavar="METHOD", help="answer with sets of classes: lac, aps or raps")
    group.add_argument("--alpha", type=float, help="share of images whose class a set may miss (default 0.1)")
    group.add_argument("--penalty", type=float, help="of raps, for each rank beyond the free ones (default 0.01)")
    group.add_argument("--free-ranks", type=int, help="of raps (default 5)")
    add_data_options(parser)
    parser.add_argument(
        "--split",
        choices=("held-out", "test", "all"),
        help="which images (default: the run's held-out ones; of other data its test set, or all where it has none)",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--forget", action="store_true", help="remove its guarantees, and do nothing else")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Calibrate and print; exit code 5 where the risk cannot be guaranteed."""
    from preceptor.cli.guarantees import lines_about, why_not
    from preceptor.cli.printing import show
    from preceptor.errors import GuaranteeUnavailable
    from preceptor.run.calibration import calibrate
    from preceptor.run.progress import ImageBar

    if arguments.forget:
        _forget(arguments)
        return
    targets = _risk_target(arguments), _set_target(arguments)
    with ImageBar(quiet=arguments.quiet or arguments.json) as bar:
        progress = bar.counter("calibrating")
        result = calibrate(arguments.run, *targets, _source(arguments), device=arguments.device, progress=progress)
    lines = lines_about(arguments.run, result) if result.guaranteed else ()
    show(arguments, lambda: {"run": str(arguments.run), **_summary(result)}, lambda: lines)
    if not result.guaranteed:
        raise GuaranteeUnavailable(why_not(result))


def _risk_target(arguments: argparse.Namespace) -> "RiskTarget | None":
    from preceptor.errors import InputError
    from preceptor.metrics import RiskTarget

    stated = {name: getattr(arguments, name) for name in ("confidence", "score")}
    stated = {name: value for name, value in stated.items() if value is not None}
    if options := score_options(arguments.option):
        stated["options"] = options
    if arguments.by_class or arguments.each:
        stated |= {"by_class": arguments.by_class, "joint": not arguments.each}
    if arguments.max_risk is None:
        if stated:
            raise InputError("--confidence, --score, --option, --by-class and --each go with --max-risk; add it")
        return None
    if arguments.each and not arguments.by_class:
        raise InputError("--each goes with --by-class: give both, or neither")
    return RiskTarget(arguments.max_risk, **stated)


def score_options(texts: list[str]) -> dict[str, float]:
    """The options of a score from ``NAME=VALUE``.

    Raises:
        InputError: one that is not of that form, or not a number.
    """
    from preceptor.config import parse_override
    from preceptor.errors import InputError

    options = {}
    for text in texts:
        name, value = parse_override(text)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"--option {text}: expected a number, for example p=3")
        options[name] = float(value)
    return options


def _set_target(arguments: argparse.Namespace) -> "SetTarget | None":
    from preceptor.errors import InputError
    from preceptor.metrics import SetTarget

    names = ("alpha", "penalty", "free_ranks")
    stated = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.sets is None:
        if stated:
            raise InputError(f"--{next(iter(stated)).replace('_', '-')} goes with --sets lac, aps or raps")
        return None
    if arguments.sets != "raps" and set(stated) - {"alpha"}:
        raise InputError("--penalty and --free-ranks go with --sets raps")
    return SetTarget(arguments.sets, **stated)


def _source(arguments: argparse.Namespace) -> "CalibrationSource":
    from preceptor.cli.options import chosen_data
    from preceptor.run.calibration_data import CalibrationSource

    part = arguments.split.replace("-", "_") if arguments.split else None
    return CalibrationSource(part=part, **chosen_data(arguments))


def _forget(arguments: argparse.Namespace) -> None:
    from preceptor.cli.guarantees import guarantees_of
    from preceptor.cli.printing import show
    from preceptor.errors import InputError
    from preceptor.run.calibration import forget

    if arguments.max_risk is not None or arguments.sets is not None:
        raise InputError("--forget removes the student's guarantees, and goes with no other goal")
    before = forget(arguments.run)
    lines = [f"forgotten: {line}" for line in guarantees_of(before)] or ["no guarantee to forget"]
    show(arguments, lambda: {"run": str(arguments.run), "forgotten": _on_card(before)}, lambda: lines)


def _on_card(card: "ModelCard") -> dict[str, Any]:
    return card.model_dump(mode="json", include={"decision", "sets"})


def _summary(result: "Calibration") -> dict[str, Any]:
    return {
        "guaranteed": result.guaranteed,
        **_on_card(result.card),
        "guarantee": None if result.guarantee is None else asdict(result.guarantee),
        "calibrated_on": result.source.model_dump(mode="json"),
        "before": _on_card(result.before),
        "notes": list(result.notes),
    }
