"""Several processes on this machine, a thin front of torchrun: ``--gpus N``."""

import argparse
import logging
import os
import sys
import uuid
from collections.abc import Sequence

from preceptor.errors import InputError, MachineError, PreceptorError
from preceptor.launched import launched

OPTIONS = ("--gpus", "--processes")
COMMAND = ("-m", "preceptor")
TOGETHER = ("train", "distill", "resume", "cache")
"""Verbs that several processes do together."""


def starts_processes(arguments: argparse.Namespace) -> bool:
    """Whether a command is to be run by several processes, which are yet to be started.

    Raises:
        InputError: torchrun has started several for a verb of one process, or fewer than one are asked for.
    """
    asked, (_, running) = getattr(arguments, "gpus", 1), launched()
    if running > 1 and arguments.verb not in TOGETHER:
        raise InputError(f"{arguments.verb}: is for one process; torchrun is for {', '.join(TOGETHER)}")
    if asked < 1:
        raise InputError(f"{OPTIONS[0]} {asked}: give at least 1")
    return running == 1 and asked > 1


def run_in_processes(count: int, tokens: Sequence[str]) -> int:
    """Run the command in so many processes of a group, and return its exit code.

    Raises:
        MachineError: a process was killed, or failed in a way of its own; it is named.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it logs is told in one line below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)(*COMMAND, *without_option(tokens))
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        told = {kind.exit_code for kind in PreceptorError.__subclasses__()}
        if failure.exitcode in told:  # by its own message
            return failure.exitcode
        how = f"was killed by signal {-failure.exitcode}" if failure.exitcode < 0 else f"ended with {failure.exitcode}"
        raise MachineError(
            f"process {number} of {count} {how}, and the others with it: preceptor resume goes on from the last "
            "checkpoint; out of memory? fewer processes, or a smaller --batch-size"
        ) from error
    return 0


def without_option(tokens: Sequence[str]) -> list[str]:
    """The command of one process."""
    kept: list[str] = []
    words = iter(tokens)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in OPTIONS:
            if not equals:
                next(words, None)
        else:
            kept.append(word)
    return kept
