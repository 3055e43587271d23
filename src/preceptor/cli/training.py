"""What train and distill share: resolve the settings, run, show."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.run import RunConfig, RunResult
    from preceptor.run.doctor import Finding
    from preceptor.teachers import TeacherCheck


def train_and_show(arguments: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Run with the settings given, on top of a configuration file and the verb's defaults."""
    from preceptor.cli.options import given_settings
    from preceptor.cli.progress import ProgressBar
    from preceptor.run import read_config, resolve, run
    from preceptor.training.memory import tune_malloc
    from preceptor.training.profiler import TABLE_FILE

    tune_malloc()
    content = {**defaults, **(read_config(arguments.config) if arguments.config else {})}
    config = resolve(content, given_settings(arguments), str(arguments.config or "the configuration"))
    silent = arguments.quiet or arguments.json
    findings: list[Finding] = []

    def tell(finding: "Finding") -> None:
        findings.append(finding)
        if not silent:
            warn(finding)

    with ProgressBar(config.student, quiet=silent) as bar:
        result = run(
            config,
            arguments.out,
            bar,
            profile=arguments.profile,
            checkpoint_seconds=arguments.checkpoint_every,
            tell=tell,
        )
    show(result, config, arguments, findings)
    if arguments.profile and not (arguments.json or arguments.quiet):
        print((arguments.out / TABLE_FILE).read_text(encoding="utf-8"))


def warn(finding: "Finding") -> None:
    """One line on standard error."""
    print(f"preceptor: {finding.status}: {' '.join(finding.line().split())}", file=sys.stderr)


def show(
    result: "RunResult", config: "RunConfig", arguments: argparse.Namespace, findings: "Sequence[Finding] | None" = None
) -> None:
    """What a run came to, for people or for scripts."""
    if arguments.json:
        checked = {} if findings is None else {"doctor": [asdict(finding) for finding in findings]}
        json.dump({**asdict(result), "folder": str(result.folder), **checked}, sys.stdout)
        print()
    elif not arguments.quiet:
        _show(result, config)


def _show(result: "RunResult", config: "RunConfig") -> None:
    if result.teacher is not None:
        print(_teacher_line(result.teacher))
    if result.cached is not None:
        print(f"cache {config.cache}: {_bank_words(result.cached)}")
    print(f"trained on {result.training_images:,} images, last epoch")
    if result.taught is not None:
        others = "nothing, as the recipe leaves them out," if result.untaught else "the labels alone"
        print(f"selected: the teacher taught {result.taught:,} of them, {others} the others")
    if result.validation is not None:
        print(f"held-out training images: {result.validation.accuracy:.2%} of {result.validation.n:,}")
    if result.test is not None:
        print(f"test set, looked at once: {result.test.accuracy:.2%} of {result.test.n:,}, NLL {result.test.nll:.4f}")
    print(f"run folder: {result.folder}")


def _bank_words(asked: int) -> str:
    if asked == 0:
        return "held all that was asked; the teacher was not asked"
    return f"the teacher was asked about {asked:,} images, all else came from the cache"


def _teacher_line(found: "TeacherCheck") -> str:
    if found.accuracy is None:
        return f"teacher: none of the {found.images:,} training images has a label to hold its word against"
    return f"teacher: {found.accuracy:.2%} right on the {found.images:,} training images, wrong on {found.wrong:,}"
