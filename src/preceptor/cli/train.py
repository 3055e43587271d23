"""``preceptor train``: a network on labels alone, for example a teacher."""

import argparse

from preceptor.cli.options import START, add_run_options, add_settings

EXAMPLES = """examples:
  preceptor train --model convnet32 --out runs/teacher
  preceptor train --data fashion-mnist --model resnet20 --epochs 10 --out runs/fashion-teacher
  preceptor train --data folder:photos --image-size 64 --model resnet20 --training standard --out runs/photos
"""

DEFAULTS = {"student": "convnet32", "recipe": "none"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    add_settings(parser, ["student"], flags={"student": "--model"}, defaults=DEFAULTS)
    add_settings(parser.add_argument_group("what it starts from"), START)
    add_run_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and show."""
    from preceptor.cli.training import train_and_show

    train_and_show(arguments, DEFAULTS)
