"""``preceptor cache``: cache teacher outputs on disk."""

import argparse
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from preceptor.cli.options import (
    SPEED,
    add_data_options,
    add_output_options,
    add_overrides,
    add_settings,
    add_teacher_options,
    command_settings,
)
from preceptor.cli.printing import show
from preceptor.errors import InputError

if TYPE_CHECKING:
    from preceptor.run import RunConfig
    from preceptor.teachers.cache import Part

EXAMPLES = """examples:
  preceptor cache caches/digits --plan
  preceptor cache caches/digits --fill --teacher runs/teacher
  preceptor cache caches/cifar100 --plan --data cifar100 --top-k 20 --epochs 240
  preceptor cache caches/imagenet --plan --images 1281167 --classes 1000 --top-k 20 --images-per-second 2500
  preceptor cache caches/cifar100 --fill --data cifar100 --teacher runs/resnet32x4 --device cuda --top-k 20
  torchrun --nproc-per-node 4 -m preceptor cache caches/digits --fill --teacher runs/teacher
  preceptor cache caches/digits --fill --teacher runs/teacher --part 0/2
  preceptor cache caches/digits --info
  preceptor cache caches/digits --verify --repair
  preceptor cache caches/digits --copy s3://bucket/digits
  preceptor distill --cache s3://bucket/digits --recipe kd --out runs/student
  preceptor distill --teacher runs/teacher --cache caches/digits --recipe kd --out runs/student

A cache need not be filled ahead: preceptor distill --cache DIR fills it as it trains.
"""

SPLIT = ("train_images", "validation", "split_seed")
"""The flags that decide which images a run trains on."""

Result = tuple[dict[str, Any], list[str]]
"""Content for ``--json``, and lines for a reader."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("cache", metavar="DIR", help="folder of the cache, or the URL of one to look at or to copy")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--plan", action="store_true", help="show its size and the queries it saves; writes nothing")
    what.add_argument("--fill", action="store_true", help="query the teacher for what is missing; can be resumed")
    what.add_argument("--info", action="store_true", help="show what it holds and how full it is; needs no teacher")
    what.add_argument("--verify", action="store_true", help="compare every record with its checksum; needs no teacher")
    what.add_argument(
        "--copy", metavar="URL", help="copy it to a URL such as s3://bucket/folder, or from one to a folder, and verify"
    )
    parser.add_argument(
        "--repair", action="store_true", help="with --verify: empty damaged entries, to be filled again"
    )
    parser.add_argument(
        "--part",
        metavar="I/N",
        help="with --fill: the share of one of N processes that fill together, I from 0 (default: torchrun's)",
    )
    parser.add_argument("--top-k", type=int, dest="cache_top_k", help="keep the largest logits alone (default all)")
    parser.add_argument(
        "--epochs",
        type=int,
        dest="training.epochs",
        help="with --plan: of a run that fills it as it trains (default 20)",
    )
    numbers = parser.add_argument_group("planning from numbers alone, without the data")
    numbers.add_argument("--images", type=int, metavar="N", help="with --plan: number of training images")
    numbers.add_argument("--classes", type=int, metavar="N", help="number of classes")
    numbers.add_argument("--views", type=int, metavar="N", help="of each image (default 1)")
    numbers.add_argument(
        "--images-per-second", type=float, metavar="X", help="rate of a teacher (default: --teacher is measured)"
    )
    numbers.add_argument("--processes", type=int, metavar="N", help="that fill together, each at this rate (default 1)")
    add_teacher_options(parser, cache=False)
    add_data_options(parser)
    group = parser.add_argument_group("filling; with any of these three, only what such a run trains on")
    group.add_argument("--train-images", type=int, help="of a run on this many images")
    group.add_argument("--validation", type=float, help="of a run that holds out this share")
    group.add_argument("--split-seed", type=int, help="of a run that splits by this seed")
    add_settings(parser.add_argument_group("speed"), SPEED)
    add_overrides(parser, "any setting, such as augment=false")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Plan, fill, inspect or verify, and show the result."""

    if arguments.repair and not arguments.verify:
        raise InputError("--repair: goes with --verify")
    if arguments.part and not arguments.fill:
        raise InputError("--part: goes with --fill")
    for name in ("images", "images_per_second", "processes"):
        value = getattr(arguments, name)
        if value is not None and not (arguments.plan and 0 < value < float("inf")):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} {value}: goes with --plan, and is a number above 0")
    if (arguments.images is None) != (arguments.classes is None) or (arguments.images is None and arguments.views):
        raise InputError("--images and --classes: give both, with --views if there are several, or the data instead")
    act = next(act for name, act in _ACTS.items() if getattr(arguments, name))
    content, lines = act(arguments)
    show(arguments, lambda: {"cache": str(arguments.cache), **content}, lambda: lines)


def _plan(arguments: argparse.Namespace) -> Result:
    from rich.filesize import decimal

    from preceptor.config import validated
    from preceptor.run.fill_cache import free_bytes, measure_rate, plan_cache
    from preceptor.teachers.cache import Layout

    config = _config(arguments)
    epochs, processes = config.training.epochs, arguments.processes or 1
    if arguments.images is None:
        layout, filled, free = plan_cache(config)
    else:
        shape = {"samples": arguments.images, "classes": arguments.classes, "views": arguments.views or 1}
        layout = validated(Layout, {**shape, "top_k": config.cache_top_k}, "the plan")
        filled, free = 0, free_bytes(config)
    rate, how = arguments.images_per_second, "given"
    if rate is None and config.teachers:
        measured = measure_rate(config)
        rate = measured.images_per_second
        how = f"measured here on {measured.images:,} images of {measured.data}, not compiled"
    seconds = None if rate is None else (layout.queries() - filled) / (rate * processes)
    content = {
        **layout.model_dump(),
        "entries": layout.entries,
        "entry_bytes": layout.entry_bytes,
        "bytes": layout.bytes,
        "epochs": epochs,
        "queries_ahead": layout.queries(),
        "queries_over_epochs": layout.queries(epochs),
        "queries_without_cache": epochs * layout.samples,
        "filled": filled,
        "free_bytes": free,
        "images_per_second": rate,
        "rate": None if rate is None else how,
        "processes": processes,
        "seconds": seconds,
    }
    done = f", of which {filled:,} are done" if filled else ""
    return content, [
        f"{config.cache}: {layout}",
        f"  when full     {decimal(layout.bytes)}, {layout.entry_bytes} bytes for each of {layout.entries:,} entries; "
        f"{decimal(free)} are free on that disk",
        f"  filled ahead  {layout.queries():,} images through the teacher{done}",
        *_time(rate, how, processes, seconds),
        f"  as it trains  {layout.queries(epochs):,} images in a run of {epochs} epochs, in place of "
        f"{epochs * layout.samples:,}; none in later runs with the same seed",
        "nothing was written",
    ]


def _time(rate: float | None, how: str, processes: int, seconds: float | None) -> list[str]:
    from preceptor.compare.format import duration

    if rate is None or seconds is None:
        return ["  time          unknown: give --images-per-second, or a --teacher to measure"]
    each = "" if processes == 1 else f" in each of {processes} processes"
    return [f"  time          {duration(seconds)} at {rate:,.0f} images/s{each} ({how})"]


def _fill(arguments: argparse.Namespace) -> Result:
    from preceptor.run.fill_cache import fill_cache
    from preceptor.run.progress import ImageBar

    config, folder, part = _config(arguments), arguments.cache, _part(arguments)
    trained_on_only = any(getattr(arguments, name) is not None for name in SPLIT)
    with ImageBar(quiet=arguments.quiet or arguments.json) as bar:
        try:
            progress = bar.counter(str(folder) if part is None else f"{folder}, part {part}")
            queries, teacher = fill_cache(config, trained_on_only=trained_on_only, part=part, progress=progress)
        except KeyboardInterrupt:
            if not arguments.quiet:
                filled = ""
                with suppress(InputError):  # it may not have been made yet
                    filled = f" with {_info(arguments)[0]['filled']:,} entries filled"
                print(f"{folder}: stopped{filled}; the same command goes on from there", file=sys.stderr)
            raise
    state, lines = _info(arguments)
    content = {
        "part": part and str(part),
        "queries": queries,
        "teacher": teacher.kind,
        "optimizations": teacher.optimizations,
        **state,
    }
    how = f" ({'; '.join(teacher.optimizations)})" if teacher.optimizations else ""
    share = "" if part is None else f"part {part}: "
    return content, [f"{share}teacher: {teacher.kind}{how}, queried about {queries:,} images", *lines]


def _part(arguments: argparse.Namespace) -> "Part | None":
    """The part that the command line names, or else that of a process that torchrun started."""
    from preceptor.teachers.cache import Part

    if arguments.part is not None:
        return Part.parse(arguments.part)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return Part.parse(f"{os.environ['RANK']}/{os.environ['WORLD_SIZE']}")
    return None


def _info(arguments: argparse.Namespace) -> Result:
    from rich.filesize import decimal

    from preceptor.teachers.cache import bytes_used, cache_place, open_readonly

    cache = open_readonly(cache_place(arguments.cache))
    key, layout, filled, used = cache.metadata.key, cache.layout, cache.count, bytes_used(cache)
    content = {
        "layout": layout.model_dump(),
        "key": key.model_dump(mode="json"),
        "entries": layout.entries,
        "filled": filled,
        "bytes_used": used,
        "bytes_full": layout.bytes,
    }
    names = ", ".join(key.class_names[:6]) + (", ..." if len(key.class_names) > 6 else "")
    parts = {
        "filled": f"{filled:,} of {layout.entries:,} entries ({filled / layout.entries:.1%})",
        "on the disk": f"{decimal(used)}, {decimal(layout.bytes)} when full",
        "teacher": f"{key.teacher[:16]}, in {key.precision}",
        "images": key.data[:16],
        "normalization": _settings(key.normalization) or "none",
        "augmentation": _settings(key.views),
        "classes": f"{len(key.class_names)}: {names}",
    }
    return content, [f"{arguments.cache}: {layout}", *(f"  {name:<14}{value}" for name, value in parts.items())]


def _verify(arguments: argparse.Namespace) -> Result:
    from preceptor.run.progress import ImageBar
    from preceptor.teachers.cache import cache_place, open_readonly, verify

    folder = cache_place(arguments.cache)
    with ImageBar(quiet=arguments.quiet or arguments.json) as bar, open_readonly(folder) as cache:
        damaged = verify(cache, repair=arguments.repair, progress=bar.counter(str(folder)))
        filled = cache.count
    lines = [f"{folder}: {filled:,} records match their checksums"]
    if damaged:
        lines.append(f"  {damaged:,} did not and are empty now: the teacher will be queried again")
    return {"filled": filled, "damaged": damaged}, lines


def _copy(arguments: argparse.Namespace) -> Result:
    from preceptor.run.progress import ImageBar
    from preceptor.teachers.cache import cache_place, copy

    source, target = cache_place(arguments.cache), cache_place(arguments.copy)
    with (
        ImageBar(quiet=arguments.quiet or arguments.json) as bar,
        copy(source, target, progress=bar.counter(str(target))) as copied,
    ):
        filled, entries = copied.count, copied.layout.entries
    lines = [f"{target}: a copy of {source}; {filled:,} of {entries:,} records, all match their checksums"]
    return {"copy": str(target), "filled": filled, "entries": entries}, lines


_ACTS = {"plan": _plan, "fill": _fill, "info": _info, "verify": _verify, "copy": _copy}


def _config(arguments: argparse.Namespace) -> "RunConfig":
    from preceptor.run import resolve

    return resolve({"recipe": "kd"}, command_settings(arguments))


def _settings(parts: dict[str, Any]) -> str:
    def shown(value: Any) -> str:
        return f"[{', '.join(f'{one:.4g}' for one in value)}]" if isinstance(value, tuple | list) else str(value)

    return ", ".join(f"{name} {shown(value)}" for name, value in parts.items())
