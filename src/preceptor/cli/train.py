"""``preceptor train``: a network by labels alone, for example a teacher."""

import argparse

EXAMPLES = """examples:
  preceptor train --model convnet32 --out runs/teacher
  preceptor train --data fashion-mnist --model resnet20 --epochs 10 --out runs/fashion-teacher
  preceptor train --data folder:photos --image-size 64 --model resnet20 --training standard --out runs/photos
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_run_options

    parser.epilog = EXAMPLES
    parser.add_argument(
        "--model",
        dest="student",
        help="resnet20, resnet32x4, convnet8, timm:NAME, torchvision:NAME (default convnet32)",
    )
    add_run_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and show."""
    from preceptor.cli.training import train_and_show

    train_and_show(arguments, {"student": "convnet32", "recipe": "none"})
