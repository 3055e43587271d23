"""``preceptor resume``: go on with a run that was stopped."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  preceptor resume runs/student
  preceptor resume runs/student --checkpoint-every 600

A run that is stopped by Ctrl-C or SIGTERM writes a checkpoint and leaves with exit code 4; one that is killed, or cut
off by the power, has its last checkpoint. It ends in the same bits as one that was never stopped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_checkpoint_option, add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    add_checkpoint_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Go on and show."""
    from preceptor.cli.progress import ProgressBar
    from preceptor.cli.training import show
    from preceptor.run import resume, stopped_run
    from preceptor.training.memory import tune_malloc

    tune_malloc()
    config, _ = stopped_run(arguments.folder)
    with ProgressBar(config.student, quiet=arguments.quiet or arguments.json) as bar:
        result = resume(arguments.folder, bar, checkpoint_seconds=arguments.checkpoint_every)
    show(result, config, arguments)
