"""``preceptor select``: scores of how useful it is to distill each training sample."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.cli.options import (
    SPLIT,
    add_data_options,
    add_output_options,
    add_overrides,
    add_settings,
    add_teacher_options,
    flag_settings,
)
from preceptor.cli.printing import show
from preceptor.errors import InputError
from preceptor.files import check_free

if TYPE_CHECKING:
    from preceptor.run.scores import Scores

EXAMPLES = """examples:
  preceptor select --teacher runs/teacher --out scores.safetensors
  preceptor select --teacher runs/teacher --select el2n --out el2n.safetensors keep=0.5 ascending=true
  preceptor select --show scores.safetensors
  preceptor distill --teacher runs/teacher --recipe lr-ds --scores scores.safetensors --out runs/lr-ds
"""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_POSITIONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--show", type=Path, metavar="FILE", help="show a score file, and do nothing else")
    parser.add_argument(
        "--select", default="influence", metavar="NAME", help="selection, see preceptor methods (default influence)"
    )
    add_teacher_options(parser)
    add_data_options(parser)
    add_settings(parser.add_argument_group("samples"), (*SPLIT, "seed", "device"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write; must not exist")
    add_overrides(parser, "an option of the selection, such as keep=0.5")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Score and write, or read; then show."""
    from preceptor.run.scores import load_scores

    if arguments.show and (arguments.teacher or arguments.cache or arguments.out):
        raise InputError("--show only shows a score file: leave out --teacher, --cache and --out")
    path = arguments.show or arguments.out
    scores = load_scores(path) if arguments.show else _score(arguments)
    summary = _summary(scores)
    show(arguments, lambda: {"file": str(path), **summary}, lambda: _lines(path, scores, summary))


def _score(arguments: argparse.Namespace) -> "Scores":
    from preceptor.config import parse_override
    from preceptor.run import resolve
    from preceptor.run.scores import save_scores
    from preceptor.run.selection import score_samples

    if (arguments.teacher is None and arguments.cache is None) or arguments.out is None:
        raise InputError("give --teacher RUN_FOLDER and --out FILE to score samples, or --show FILE to show scores")
    check_free(arguments.out)
    selection = {"name": arguments.select, **dict(parse_override(text) for text in arguments.override)}
    recipe = {"selection": selection, "terms": {"kl": {"loss": "kl"}}}
    scores = score_samples(resolve({"recipe": recipe}, flag_settings(arguments)))
    save_scores(arguments.out, scores)
    return scores


def _summary(scores: "Scores") -> dict[str, Any]:
    has_score = ~scores.score.isnan()
    known, index = scores.score[has_score].double(), scores.index[has_score]
    order = known.argsort(stable=True)
    return {
        **scores.origin.model_dump(),
        "samples": len(scores.index),
        "selected": int(scores.selected.sum()),
        "without_score": len(scores.score) - len(known),
        "quantiles": {f"{q:g}": float(known.quantile(q)) for q in QUANTILES} if len(known) else {},
        "highest": index[known.argsort(descending=True, stable=True)[:MOST_POSITIONS]].tolist(),
        "lowest": index[order[:MOST_POSITIONS]].tolist(),
    }


def _lines(path: Path, scores: "Scores", summary: dict[str, Any]) -> Iterator[str]:
    origin = scores.origin
    options = ", ".join(f"{name}={value}" for name, value in origin.options.items())
    yield f"{path}: {origin.component} ({options}) on {origin.data}"
    yield f"selected {summary['selected']:,} of {summary['samples']:,} samples"
    if summary["without_score"]:
        yield f"  {summary['without_score']:,} have no label, so no score: all of them are distilled"
    for share, value in summary["quantiles"].items():
        yield f"  quantile {share:<5} {value:+.6g}"
    yield f"  highest scores at positions {', '.join(map(str, summary['highest']))}"
    yield f"  lowest scores at positions  {', '.join(map(str, summary['lowest']))}"
    yield f"fitted against {origin.held_out:,} held-out samples, seed {origin.seed}, {origin.checkpoints} checkpoint(s)"
