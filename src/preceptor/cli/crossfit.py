"""``preceptor crossfit``: honest outputs for the training images, from copies that have not seen them."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.errors import InputError

if TYPE_CHECKING:
    from preceptor.compare.crossfit import CrossFit

EXAMPLES = """examples:
  preceptor crossfit --model convnet32 --out runs/crossfit
  preceptor crossfit --data fashion-mnist --model resnet20 --epochs 10 --folds 5 --epochs-kept 5 --out runs/crossfit
  preceptor crossfit --classifier sklearn.linear_model.LogisticRegression --features embeddings.npy --out runs/probe
  preceptor distill --teacher runs/crossfit/outputs.npy --teacher-output logits --recipe ka-ps --out runs/student

A teacher looks right on the images it was trained on, so that a correction finds nothing there to correct. Here every
image is answered by a copy trained on the other folds. The folder holds outputs.npy (logits, a row a training image),
what they come from (crossfit.json) and a run folder a fold; given again after a stop, the command goes on.
"""

DEFAULTS = {"student": "convnet32", "recipe": "none", "folds": 5}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_run_options, add_settings

    parser.epilog = EXAMPLES
    add_settings(parser, ["student", "folds"], flags={"student": "--model"}, defaults=DEFAULTS)
    parser.add_argument(
        "--epochs-kept", type=int, default=0, metavar="N", help="write probabilities after so many epochs (epochs.npy)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="folds at a time (default: by the number of cores)")
    parser.add_argument("--classifier", metavar="NAME", help="a classifier of scikit-learn instead of a network")
    parser.add_argument(
        "--features", type=Path, metavar="FILE", help=".npy file of its features, a row a training image"
    )
    add_run_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Cross-fit and show."""
    from preceptor.cli.printing import show

    if (arguments.classifier is None) != (arguments.features is None):
        raise InputError("--classifier and --features go together: give both, or neither for a network")
    result = _network(arguments) if arguments.classifier is None else _classifier(arguments)
    show(arguments, lambda: _plain(result), lambda: _lines(result))


def _network(arguments: argparse.Namespace) -> "CrossFit":
    from preceptor.cli.training import resolve_settings
    from preceptor.compare.crossfit import crossfit
    from preceptor.run.progress import ImageBar

    config = resolve_settings(arguments, DEFAULTS)
    with ImageBar(quiet=arguments.quiet or arguments.json) as bar:
        return crossfit(
            config,
            arguments.out,
            epochs_kept=arguments.epochs_kept,
            jobs=arguments.jobs,
            on_start=lambda images: bar.start("folds", images),
            report=bar.advance,
        )


def _classifier(arguments: argparse.Namespace) -> "CrossFit":
    from preceptor.cli.training import resolve_settings
    from preceptor.compare.crossfit import crossfit_features
    from preceptor.config import parse_override

    options = dict(parse_override(text) for text in arguments.override)
    arguments.override = []  # here they are the classifier's
    config = resolve_settings(arguments, DEFAULTS)
    return crossfit_features(config, arguments.out, arguments.classifier, options, arguments.features)


def _plain(result: "CrossFit") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(result), "folder": str(result.folder)}


def _lines(result: "CrossFit") -> Iterator[str]:
    by_fold = ", ".join(f"{accuracy:.2%}" for accuracy in result.by_fold)
    yield f"{result.images:,} training images in {result.folds} folds, each answered by a copy that has not seen it"
    yield f"its outputs name the given label of {result.accuracy:.2%} of them (by fold: {by_fold})"
    yield f"as a teacher: --teacher {result.outputs} --teacher-output logits"
