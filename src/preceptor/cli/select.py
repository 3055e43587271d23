"""``preceptor select``: score the training samples by how useful it is to distill them, or look at a score file."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.run.scores import Scores

EXAMPLES = """examples:
  preceptor select --teacher runs/teacher --out scores.safetensors
  preceptor select --teacher runs/teacher --select el2n --out el2n.safetensors keep=0.5 ascending=true
  preceptor select --show scores.safetensors
  preceptor distill --teacher runs/teacher --recipe lr-ds --scores scores.safetensors --out runs/lr-ds
"""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options, add_teacher_options

    parser.epilog = EXAMPLES
    parser.add_argument("--show", type=Path, metavar="FILE", help="look at a score file, and do nothing else")
    parser.add_argument(
        "--select", default="influence", help="the estimator: see preceptor methods (default influence)"
    )
    add_teacher_options(parser)
    add_data_options(parser)
    parser.add_argument("--train-labels", help=".npy file of labels to use in place of the data set's own")
    parser.add_argument("--train-images", type=int, help="score a stratified subset of this many images")
    parser.add_argument("--validation", type=float, help="share of training images held out (default 0.1)")
    parser.add_argument("--seed", type=int, help="of what is drawn (default 0)")
    parser.add_argument("--split-seed", type=int, help="of what is held out; keep the teacher's (default 0)")
    parser.add_argument("--device", help="auto (default), cpu or cuda")
    parser.add_argument("--out", type=Path, help="file to write; must not exist")
    parser.add_argument("override", nargs="*", metavar="key=value", help="an option of the estimator, such as keep=0.5")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Score and write, or read; then show."""
    from preceptor.errors import InputError
    from preceptor.run.scores import load_scores

    if arguments.show and (arguments.teacher or arguments.cache or arguments.out):
        raise InputError("--show looks at a score file and does nothing else: leave --teacher and --out away")
    path, scores = (
        (arguments.show, load_scores(arguments.show)) if arguments.show else (arguments.out, _score(arguments))
    )
    if arguments.json:
        json.dump({"file": str(path), **_summary(scores)}, sys.stdout)
        print()
    elif not arguments.quiet:
        _show(path, scores)


def _score(arguments: argparse.Namespace) -> "Scores":
    from preceptor.cli.options import flag_settings
    from preceptor.config import parse_override
    from preceptor.errors import InputError
    from preceptor.files import check_free
    from preceptor.run import resolve
    from preceptor.run.scores import save_scores
    from preceptor.run.selection import score_samples

    if (arguments.teacher is None and arguments.cache is None) or arguments.out is None:
        raise InputError("give --teacher RUN_FOLDER and --out FILE to score samples, or --show FILE to look at scores")
    check_free(arguments.out)
    choice = {"name": arguments.select, **dict(parse_override(text) for text in arguments.override)}
    recipe = {"selection": choice, "terms": {"kl": {"loss": "kl"}}}
    scores = score_samples(resolve({"recipe": recipe}, flag_settings(arguments)))
    save_scores(arguments.out, scores)
    return scores


def _summary(scores: "Scores") -> dict[str, Any]:
    known = scores.score[~scores.score.isnan()].double()
    return {
        **scores.origin.model_dump(),
        "samples": len(scores.index),
        "selected": int(scores.selected.sum()),
        "without_score": len(scores.score) - len(known),
        "quantiles": {f"{q:g}": float(known.quantile(q)) for q in QUANTILES} if len(known) else {},
        "highest": _places(scores, descending=True),
        "lowest": _places(scores, descending=False),
    }


def _places(scores: "Scores", descending: bool, most: int = 5) -> list[int]:
    """Positions of the first few samples in order of their scores."""
    known = ~scores.score.isnan()
    order = scores.score[known].argsort(descending=descending, stable=True)[:most]
    return [int(position) for position in scores.index[known][order]]


def _show(path: Path, scores: "Scores") -> None:
    from preceptor.cli.printing import printable

    summary, origin = _summary(scores), scores.origin
    options = ", ".join(f"{name}={value}" for name, value in origin.options.items())
    print(printable(f"{path}: {origin.component} ({options}) on {origin.data}"))
    print(f"selected {summary['selected']:,} of {summary['samples']:,} samples")
    if summary["without_score"]:
        print(f"  {summary['without_score']:,} have no label, so no score: the teacher teaches them all")
    for share, value in summary["quantiles"].items():
        print(f"  quantile {share:<5} {value:+.6g}")
    print(f"  highest scores at positions {', '.join(map(str, summary['highest']))}")
    print(f"  lowest scores at positions  {', '.join(map(str, summary['lowest']))}")
    print(
        f"fitted against {origin.held_out:,} held-out samples, seed {origin.seed}, {origin.checkpoints} checkpoint(s)"
    )
