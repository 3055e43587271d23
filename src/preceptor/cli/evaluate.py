"""``preceptor evaluate``: how good a student is on a data set."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

EXAMPLES = """examples:
  preceptor evaluate runs/student
  preceptor evaluate runs/student --data folder:new-photos --image-size 64
  preceptor evaluate runs/student --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    add_data_options(parser)
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which part of the data set")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure and show."""
    from preceptor.runs.measure import measure_student

    metrics, card = measure_student(
        arguments.run,
        data=arguments.data,
        data_root=Path(arguments.data_root) if arguments.data_root else None,
        download=bool(arguments.download),
        image_size=arguments.image_size,
        skip_bad_images=bool(arguments.skip_bad_images),
        split=arguments.split,
        device=arguments.device,
    )
    if arguments.json:
        json.dump({"run": str(arguments.run), "split": arguments.split, **asdict(metrics)}, sys.stdout)
        print()
        return
    print(f"accuracy {metrics.accuracy:.2%} of {metrics.n:,} images")
    if arguments.quiet:
        return
    if metrics.top5_accuracy is not None:
        print(f"top-5    {metrics.top5_accuracy:.2%}")
    print(f"NLL      {metrics.nll:.4f}, mean confidence {metrics.mean_confidence:.2%}")
    for ranked in metrics.selective:
        errors = ", ".join(f"{error:.2%} at {cover} %" for cover, error in ranked.error_at_coverage.items())
        print(f"error when the least sure by {ranked.score} are declined: {errors}; AURC {ranked.aurc:.4f}")
    for name, accuracy in zip(card.class_names, metrics.per_class_accuracy, strict=True):
        print(f"  {name:<20} {'no images' if accuracy is None else f'{accuracy:.2%}'}")
