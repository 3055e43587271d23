"""``preceptor calibrate``: when a student declines, or with which classes it answers, with a guarantee in numbers."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.metrics import RiskTarget
    from preceptor.models import ModelCard
    from preceptor.run.calibration import Calibration, SetTarget
    from preceptor.run.calibration_data import Given

EXAMPLES = """examples:
  preceptor calibrate runs/student --max-risk 0.02
  preceptor calibrate runs/student --max-risk 0.05 --confidence 0.99 --by-class
  preceptor calibrate runs/student --sets aps --alpha 0.1
  preceptor calibrate runs/student --max-risk 0.05 --data folder:fresh-photos
  preceptor calibrate runs/student --forget

The images it is done on must have been used for nothing else: by default those that the run held out. What is found
is stored in student.json; preceptor predict, evaluate and export go by it. Exit code 5: it cannot be guaranteed, and
nothing is written.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    group = parser.add_argument_group("declining")
    group.add_argument(
        "--max-risk", type=float, metavar="SHARE", help="errors among its answers, at most: 0.02 is 2 %%"
    )
    group.add_argument("--confidence", type=float, help="how surely this is to hold (default 0.95)")
    group.add_argument("--score", help="by which it declines: margin, energy, ... (default softmax_response)")
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
    parser.add_argument(
        "--forget", action="store_true", help="take away what it was calibrated to, and do nothing else"
    )
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Calibrate, show, and leave with code 5 where it cannot be guaranteed."""
    from preceptor.cli.guarantees import lines_about, why_not
    from preceptor.cli.printing import printable
    from preceptor.errors import GuaranteeUnavailable
    from preceptor.run.calibration import calibrate

    if arguments.forget:
        _forget(arguments)
        return
    found = calibrate(arguments.run, _wish(arguments), _sets(arguments), _given(arguments), device=arguments.device)
    if arguments.json:
        json.dump({"run": str(arguments.run), **_summary(found)}, sys.stdout, allow_nan=False)
        print()
    elif found.guaranteed and not arguments.quiet:
        print("\n".join(printable(line) for line in lines_about(arguments.run, found)))
    if not found.guaranteed:
        raise GuaranteeUnavailable(why_not(found))


def _wish(arguments: argparse.Namespace) -> "RiskTarget | None":
    from preceptor.errors import InputError
    from preceptor.metrics import RiskTarget

    given = {
        "confidence": arguments.confidence,
        "score": arguments.score,
        "options": score_options(arguments.option) or None,
        "by_class": arguments.by_class or None,
        "joint": False if arguments.each else None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.max_risk is None:
        if given:
            raise InputError("these options are about errors: say how many are allowed, for example --max-risk 0.02")
        return None
    if arguments.each and not arguments.by_class:
        raise InputError("--each goes with --by-class: give both, or neither")
    return RiskTarget(arguments.max_risk, **given)


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


def _sets(arguments: argparse.Namespace) -> "SetTarget | None":
    from preceptor.errors import InputError
    from preceptor.run.calibration import SetTarget

    names = ("alpha", "penalty", "free_ranks")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.sets is None:
        if given:
            raise InputError(f"--{next(iter(given)).replace('_', '-')} goes with --sets lac, aps or raps")
        return None
    if arguments.sets != "raps" and set(given) - {"alpha"}:
        raise InputError("--penalty and --free-ranks go with --sets raps")
    return SetTarget(arguments.sets, **given)


def _given(arguments: argparse.Namespace) -> "Given":
    from preceptor.run.calibration_data import Given

    return Given(
        data=arguments.data,
        part=arguments.split.replace("-", "_") if arguments.split else None,
        data_root=Path(arguments.data_root) if arguments.data_root else None,
        download=bool(arguments.download),
        image_size=arguments.image_size,
        skip_bad_images=bool(arguments.skip_bad_images),
    )


def _forget(arguments: argparse.Namespace) -> None:
    from preceptor.cli.guarantees import promises_of
    from preceptor.cli.printing import printable
    from preceptor.errors import InputError
    from preceptor.run.calibration import forget

    if arguments.max_risk is not None or arguments.sets is not None:
        raise InputError("--forget takes away what the student was calibrated to, and does nothing else")
    before = forget(arguments.run)
    if arguments.json:
        print(json.dumps({"run": str(arguments.run), "forgotten": _on_card(before)}, allow_nan=False))
    elif not arguments.quiet:
        print(
            "\n".join(printable(f"forgotten: {line}") for line in promises_of(before)) or "there was nothing to forget"
        )


def _on_card(card: "ModelCard") -> dict[str, Any]:
    return card.model_dump(mode="json", include={"decision", "sets"})


def _summary(found: "Calibration") -> dict[str, Any]:
    return {
        "guaranteed": found.guaranteed,
        **_on_card(found.card),
        "found": None if found.found is None else asdict(found.found),
        "calibrated_on": found.source.model_dump(mode="json"),
        "before": _on_card(found.before),
        "notes": list(found.notes),
    }
