"""``preceptor resume``: continue a run that was stopped."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.cli.options import (
    add_checkpoint_option,
    add_force_option,
    add_output_options,
    add_processes_option,
    add_settings,
    add_track_option,
    flag_settings,
)
from preceptor.errors import InputError
from preceptor.settings import PLACES

if TYPE_CHECKING:
    from preceptor.run import RunConfig

EXAMPLES = """examples:
  preceptor resume runs/student
  preceptor resume runs/student --data folder:/new/place/photos
  preceptor resume runs/student --checkpoint-every 600

A run stopped by Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 writes a checkpoint and exits with 4; one that was killed has its
last checkpoint. A resumed run ends in the same bits as one that was never stopped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    group = parser.add_argument_group("where things are now")
    add_settings(group, PLACES, defaults=dict.fromkeys(PLACES, "the run's"))
    add_processes_option(parser)
    add_checkpoint_option(parser)
    add_force_option(parser)
    add_track_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Continue and show."""
    from preceptor.cli.training import leave_output_to_first, show_result, showing_findings
    from preceptor.integrations import tracking
    from preceptor.run import resume, stopped_run
    from preceptor.run.progress import ProgressBar
    from preceptor.training.device import choose_device
    from preceptor.training.distributed import process_group

    moved = flag_settings(arguments)
    config, _ = stopped_run(arguments.folder, moved)
    _check_places(config, arguments.folder)
    with process_group(choose_device(config.device)):
        leave_output_to_first(arguments)
        with (
            tracking(arguments.track, arguments.folder) as trackers,
            showing_findings(arguments) as findings,
            ProgressBar(config.student, quiet=arguments.quiet or arguments.json) as bar,
        ):
            result = resume(
                arguments.folder,
                [bar, *trackers],
                checkpoint_seconds=arguments.checkpoint_every,
                moved=moved,
                on_finding=findings.add,
                force=arguments.force,
            )
    show_result(result, config, arguments, findings.findings)


def _check_places(config: "RunConfig", folder: Path) -> None:
    """Ask for what has moved."""
    from preceptor.run.members import names_network

    kind, _, place = config.data.partition(":")
    needed = [(f"--data {kind}:", Path(place).expanduser())] if place and kind not in ("hf", "python") else []
    for option, path in [*needed, *(("--teacher ", teacher) for teacher in config.teachers)]:
        if not path.exists() and not names_network(path):
            raise InputError(f"{path}: no longer there: preceptor resume {folder} {option}NEW_PLACE")
