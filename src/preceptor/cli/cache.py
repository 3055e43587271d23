"""``preceptor cache``: what a teacher says of every image in every view, asked once and kept on the disk."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.cli.progress import StudyBar
    from preceptor.run import RunConfig
    from preceptor.run.fill_cache import CachePlan, Filled
    from preceptor.teachers.cache import Info

EXAMPLES = """examples:
  preceptor cache caches/digits --plan
  preceptor cache caches/digits --fill --teacher runs/teacher
  preceptor cache caches/cifar100 --plan --data cifar100 --top-k 20 --epochs 240
  preceptor cache caches/cifar100 --fill --data cifar100 --teacher runs/resnet32x4 --device cuda --top-k 20
  preceptor cache caches/digits --info
  preceptor cache caches/digits --verify --repair
  preceptor distill --teacher runs/teacher --cache caches/digits --recipe kd --out runs/student

A cache need not be filled ahead: preceptor distill --cache DIR fills it with what it asks.
"""

SPLIT = ("train_images", "validation", "split_seed")
"""The flags that say which images a run trains on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options, add_speed_options, add_teacher_options

    parser.epilog = EXAMPLES
    parser.add_argument("cache", type=Path, metavar="DIR", help="folder of the cache")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--plan", action="store_true", help="how large it will be, and what it saves; writes nothing")
    what.add_argument("--fill", action="store_true", help="ask the teacher what is missing; may be stopped and resumed")
    what.add_argument("--info", action="store_true", help="what it is of, and how full it is; needs no teacher")
    what.add_argument("--verify", action="store_true", help="compare every record with its checksum; needs no teacher")
    parser.add_argument("--repair", action="store_true", help="with --verify: empty damaged records, to be asked again")
    parser.add_argument("--top-k", type=int, dest="cache_top_k", help="keep the largest logits alone (default all)")
    parser.add_argument("--features", action="store_true", help="keep pooled features beside the logits")
    parser.add_argument(
        "--epochs", type=int, dest="training.epochs", help="with --plan: of a run that fills it as it goes (default 20)"
    )
    add_teacher_options(parser, cache=False)
    add_data_options(parser)
    group = parser.add_argument_group("filling; of these three, any one leaves out what such a run does not train on")
    group.add_argument("--train-images", type=int, help="of a run on so many images")
    group.add_argument("--validation", type=float, help="of a run that holds out this share")
    group.add_argument("--split-seed", type=int, help="of a run that splits by this seed")
    add_speed_options(parser.add_argument_group("speed"))
    parser.add_argument("override", nargs="*", metavar="key=value", help="any setting, for example augment=false")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Plan, fill, look or verify, and show."""
    from preceptor.cli.printing import printable
    from preceptor.errors import InputError

    if arguments.repair and not arguments.verify:
        raise InputError("--repair: goes with --verify")
    act = next(act for name, act in _ACTS.items() if getattr(arguments, name))
    content, lines = act(arguments)
    if arguments.json:
        json.dump({"cache": str(arguments.cache), **content}, sys.stdout)
        print()
    elif not arguments.quiet:
        print("\n".join(printable(line) for line in lines))


def _plan(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    from preceptor.run.fill_cache import plan_cache

    config = _config(arguments)
    planned = plan_cache(config, features=arguments.features)
    epochs, plan = config.training.epochs, planned.plan
    content = {
        **asdict(plan),
        "top_k": planned.layout.top_k,
        "features": planned.layout.features,
        "epochs": epochs,
        "forwards_ahead": plan.forwards(),
        "forwards_over_epochs": plan.forwards(epochs),
        "forwards_without_bank": epochs * plan.samples,
        "filled": planned.filled,
        "free_bytes": planned.free_bytes,
    }
    return content, _plan_lines(config, planned)


def _plan_lines(config: "RunConfig", planned: "CachePlan") -> list[str]:
    plan, epochs = planned.plan, config.training.epochs
    files = "1 file" if plan.shards == 1 else f"{plan.shards:,} files"
    seen = f", of which it has seen {planned.filled:,}" if planned.filled else ""
    return [
        f"{config.cache}: {_layout(planned.layout)}",
        f"  when full     {_size(plan.bytes)} in {files}, {plan.cell_bytes} bytes for each of {plan.cells:,} cells; "
        f"{_size(planned.free_bytes)} are free there",
        f"  filled ahead  the teacher looks at {plan.forwards():,} images{seen}",
        f"  as it goes    in a run of {epochs} epochs at {plan.forwards(epochs):,} images, in place of "
        f"{epochs * plan.samples:,}; in runs after that with the same seed at none",
        "nothing was written",
    ]


def _fill(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    from preceptor.cli.progress import StudyBar
    from preceptor.run.fill_cache import fill_cache

    config = _config(arguments)
    part = any(getattr(arguments, name) is not None for name in SPLIT)
    with StudyBar(quiet=arguments.quiet or arguments.json) as bar:
        try:
            done = fill_cache(
                config, features=arguments.features, trained_on_only=part, progress=_Moving(bar, arguments.cache)
            )
        except KeyboardInterrupt:
            if not arguments.quiet:
                print(
                    f"{arguments.cache}: what is filled is kept; the same command goes on from there", file=sys.stderr
                )
            raise
    content = {
        "asked": done.asked,
        "teacher": done.teacher,
        "optimize_for_inference": done.optimize_for_inference,
        "apart": done.apart,
        **_info_content(done.info),
    }
    return content, _fill_lines(arguments.cache, done)


def _fill_lines(folder: Path, done: "Filled") -> list[str]:
    how = f" ({'; '.join(done.optimize_for_inference)})" if done.optimize_for_inference else ""
    return [
        f"teacher: {done.teacher}{how}, asked about {done.asked:,} images",
        f"asked again about some of them: probabilities at most {done.apart:.1g} apart from what is kept",
        *_info_lines(folder, done.info),
    ]


def _info(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    from preceptor.teachers.cache import info, open_readonly

    found = info(open_readonly(arguments.cache))
    return _info_content(found), _info_lines(arguments.cache, found)


def _info_content(found: "Info") -> dict[str, Any]:
    return {
        "layout": found.layout.model_dump(),
        "fingerprint": found.fingerprint.model_dump(mode="json"),
        "cells": found.layout.cells,
        "filled": found.filled,
        "bytes_used": found.bytes_used,
        "bytes_full": found.bytes_full,
    }


def _info_lines(folder: Path, found: "Info") -> list[str]:
    of, cells = found.fingerprint, found.layout.cells
    named = ", ".join(of.class_names[:6]) + (", ..." if len(of.class_names) > 6 else "")
    parts = {
        "filled": f"{found.filled:,} of {cells:,} cells ({found.share:.1%})",
        "on the disk": f"{_size(found.bytes_used)}, {_size(found.bytes_full)} when full",
        "teacher": f"{of.teacher[:16]}, in {of.precision}",
        "images": of.data[:16],
        "normalization": _settings(of.normalization) or "none",
        "views": _settings(of.views),
        "classes": f"{len(of.class_names)}: {named}",
    }
    return [f"{folder}: {_layout(found.layout)}", *(f"  {name:<14}{value}" for name, value in parts.items())]


def _verify(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    from preceptor.cli.progress import StudyBar
    from preceptor.teachers.cache import open_readonly, verify

    with StudyBar(quiet=arguments.quiet or arguments.json) as bar, open_readonly(arguments.cache) as cache:
        found = verify(cache, repair=arguments.repair, progress=_Moving(bar, arguments.cache))
    lines = [f"{arguments.cache}: {found.filled:,} records match their checksums"]
    if found.damaged:
        lines.append(f"  {found.damaged:,} did not and are empty now: the teacher is asked about them again")
    return asdict(found), lines


_ACTS = {"plan": _plan, "fill": _fill, "info": _info, "verify": _verify}


def _config(arguments: argparse.Namespace) -> "RunConfig":
    from preceptor.cli.options import command_settings
    from preceptor.run import resolve

    return resolve({"recipe": "kd"}, command_settings(arguments))


class _Moving:
    """Moves a bar to where the work says it is."""

    def __init__(self, bar: "StudyBar", folder: Path) -> None:
        self._bar, self._title = bar, str(folder)
        self._done: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._done is None:
            self._bar.begin_study(self._title, total)
            self._done = 0
        self._bar.advance(done - self._done)
        self._done = done


def _layout(layout: Any) -> str:
    kept = f"all {layout.classes:,}" if layout.top_k is None else f"the {layout.top_k} largest of {layout.classes:,}"
    features = f" and {layout.features} features" if layout.features else ""
    return f"{layout.samples:,} images in {layout.views:,} views, {kept} logits{features}"


def _settings(parts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in parts.items())


def _value(value: Any) -> str:
    return f"[{', '.join(f'{one:.4g}' for one in value)}]" if isinstance(value, tuple | list) else str(value)


def _size(count: int) -> str:
    """Bytes in the largest unit of which there is one."""
    size, unit = next(
        ((count / 1000**power, unit) for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")) if count >= 1000**power),
        (float(count), "bytes"),
    )
    return f"{size:.3g} {unit}"
