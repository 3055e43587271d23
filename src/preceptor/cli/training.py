"""The work of ``preceptor train``, ``distill`` and ``resume``: resolve the settings, run, show the result."""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from preceptor.cli.options import command_settings
from preceptor.cli.printing import note, show
from preceptor.errors import InputError
from preceptor.launched import restarts

if TYPE_CHECKING:
    from preceptor.metrics import Metrics
    from preceptor.run import RunConfig, RunResult
    from preceptor.run.doctor import Finding
    from preceptor.teachers import TeacherCheck


def resolve_settings(arguments: argparse.Namespace, defaults: Mapping[str, Any]) -> "RunConfig":
    """The settings of a command: its flags and ``key=value`` over its ``--config`` file over the verb's defaults."""
    from preceptor.run import read_config, resolve

    content = {**defaults, **(read_config(arguments.config) if arguments.config else {})}
    return resolve(content, command_settings(arguments), str(arguments.config or "the configuration"))


FEW_SAMPLES = 20
"""On fewer samples accuracy says nothing about chance."""


def train_and_show(arguments: argparse.Namespace, defaults: Mapping[str, Any]) -> None:
    """Train as the command asks, and show the result."""
    from preceptor.integrations import tracking
    from preceptor.run import resume, run
    from preceptor.run.progress import ProgressBar
    from preceptor.run.resume import run_state
    from preceptor.training.device import choose_device
    from preceptor.training.distributed import from_first, process_group
    from preceptor.training.profiler import TABLE_FILE

    config = resolve_settings(arguments, defaults)
    with process_group(choose_device(config.device)):
        leave_output_to_first(arguments)
        goes_on = restarts() > 0 and from_first(lambda: run_state(arguments.out)) == "stopped"
        silent = arguments.quiet or arguments.json
        with (
            tracking(arguments.track, arguments.out) as trackers,
            showing_findings(arguments) as findings,
            ProgressBar(config.student, quiet=silent) as bar,
        ):
            options: dict[str, Any] = {
                "checkpoint_seconds": arguments.checkpoint_every,
                "on_finding": findings.add,
                "force": arguments.force,
            }
            if goes_on:
                result = resume(arguments.out, [bar, *trackers], **options)
            else:
                result = run(config, arguments.out, [bar, *trackers], profile=arguments.profile, **options)
    show_result(result, config, arguments, findings.findings)
    if arguments.profile and not silent:
        print((arguments.out / TABLE_FILE).read_text(encoding="utf-8"))


def leave_output_to_first(arguments: argparse.Namespace) -> None:
    """Of several processes that train together, only the first tracks and shows anything but errors."""
    from preceptor.training.distributed import rank

    if rank() > 0:
        arguments.track, arguments.quiet, arguments.json = [], True, False


class ShownFindings:
    """Keeps the findings of the doctor's quick check, and shows them in lines unless it is silent."""

    def __init__(self, silent: bool) -> None:
        self.findings: list[Finding] = []
        self._silent = silent

    def add(self, finding: "Finding") -> None:
        """Keep a finding, and show it."""
        self.findings.append(finding)
        if not self._silent:
            note(f"{finding.status}: {finding.line()}")


@contextmanager
def showing_findings(arguments: argparse.Namespace) -> "Iterator[ShownFindings]":
    """Show what the doctor's quick check finds before a run, also where it keeps the run from starting.

    Raises:
        InputError: it does.
    """
    from preceptor.run.doctor import ProblemsFound

    shown = ShownFindings(silent=arguments.quiet or arguments.json)
    try:
        yield shown
    except ProblemsFound as error:
        if arguments.quiet and not arguments.json:
            raise
        if arguments.json:
            show(arguments, lambda: {"doctor": [asdict(finding) for finding in shown.findings]}, lambda: ())
        names = ", ".join(finding.name for finding in error.diagnosis.of("problem"))
        raise InputError(f"problems: {names}: nothing was trained; --force trains all the same") from error


def show_result(
    result: "RunResult", config: "RunConfig", arguments: argparse.Namespace, findings: "Sequence[Finding]" = ()
) -> None:
    """The result of a run, for people or for scripts; for these with the doctor's findings too."""
    measured = result.test or result.validation
    warnings = [] if measured is None else _warnings(measured, config.training.epochs)
    if not (arguments.json or arguments.quiet):
        for warning in warnings:
            note(f"warning: {warning}")
    show(
        arguments,
        lambda: {
            **asdict(result),
            "folder": str(result.folder),
            "warnings": warnings,
            "doctor": [asdict(finding) for finding in findings],
        },
        lambda: _lines(result, config),
    )


def _warnings(measured: "Metrics", epochs: int) -> list[str]:
    """A warning about a student no better than chance, which may hide behind exit code 0: the run is complete."""
    by_class = [accuracy for accuracy in measured.per_class_accuracy if accuracy is not None]
    # The mean over classes is at chance for a network that always gives one class, whatever that class's share is.
    mean, chance = sum(by_class) / len(by_class), 1 / len(by_class)
    deviation = math.sqrt(chance * (1 - chance) / measured.n)
    if len(by_class) < 2 or measured.n < FEW_SAMPLES or mean > chance + 2 * deviation:
        return []
    return [
        f"the network cannot be told from chance on {measured.n:,} images ({mean:.2%} as the mean over {len(by_class)} "
        f"classes): after {epochs} epochs it may need more (--epochs, or a smaller --batch-size); after many, training "
        "diverged: lower the learning rate (--lr)"
    ]


def _lines(result: "RunResult", config: "RunConfig") -> Iterator[str]:
    if result.teacher is not None:
        yield _teacher_line(result.teacher)
    if result.cached is not None:
        queried = f"the teacher was queried on {result.cached:,} images, the rest came from the cache"
        if result.cached == 0:
            queried = "held every output; the teacher was not queried"
        yield f"cache {config.cache}: {queried}"
    yield f"trained on {result.training_images:,} images, last epoch"
    if result.distilled_samples is not None:
        others = "dropped, as the recipe says" if result.unused_samples else "trained on their labels alone"
        yield f"selected: {result.distilled_samples:,} of them distilled, the others {others}"
    if result.validation is not None:
        yield f"held-out training images: {result.validation.accuracy:.2%} of {result.validation.n:,}"
    if result.test is not None:
        yield f"test set, used once: {result.test.accuracy:.2%} of {result.test.n:,}, NLL {result.test.nll:.4f}"
    yield f"run folder: {result.folder}"


def _teacher_line(check: "TeacherCheck") -> str:
    if check.accuracy is None:
        return f"teacher: none of the {check.images:,} training images has a label to compare it with"
    return f"teacher: {check.accuracy:.2%} right on the {check.images:,} training images, wrong on {check.wrong:,}"
