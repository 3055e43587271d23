"""``preceptor bench``: training speed on this machine against a baseline loop, measured by the source checkout."""

import argparse

from preceptor.cli.experiments import load_experiments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    load_experiments("speed.verb").add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure and show."""
    load_experiments("speed.verb").run(arguments)
