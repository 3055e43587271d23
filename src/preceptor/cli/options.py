"""Options that verbs share. Those of a run's settings are made from the settings' own declarations."""

import argparse
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.cli.processes import OPTIONS
from preceptor.errors import InputError
from preceptor.settings import Setting, read_settings

if TYPE_CHECKING:
    from preceptor.compare.launchers import Launcher
    from preceptor.run.evaluation import EvaluationData

DATA = ("data", "data_root", "download", "image_size", "skip_bad_images")
SPLIT = ("train_labels", "train_images", "validation", "split_seed")
START = ("pretrained", "student_weights", "student_size", "training.freeze", "training.layer_decay")
STUDENT = ("student", *START, "recipe", "scores", "audit")
TEACHER = (
    "teacher",
    "teacher_weights",
    "teacher_output",
    "teacher_output_name",
    "teacher_normalization.mean",
    "teacher_normalization.std",
    "ensemble_mean",
)
CACHE = ("cache", "cache_top_k")
TRAINING = (
    "training",
    "training.epochs",
    "training.batch_size",
    "training.learning_rate",
    "augment",
    "seed",
    "keep_checkpoints",
)
SPEED = ("device", "precision", "compile")


def add_settings(
    parser: argparse._ActionsContainer,
    keys: Iterable[str],
    *,
    flags: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add a flag for each of some settings; a flag that is not used leaves the setting alone.

    The keys, such as ``training.epochs``, are also the flags' names in the parsed arguments. ``flags`` holds those that
    a verb names otherwise, ``defaults`` what is shown where the verb's default is not the setting's own.
    """
    settings, flags, defaults = read_settings(), flags or {}, defaults or {}
    for key in keys:
        setting, text = settings[key], settings[key].explained(defaults.get(key)).replace("%", "%%")
        parser.add_argument(flags.get(key, setting.flag), dest=key, help=text or None, **_reading(setting))


def _reading(setting: Setting) -> dict[str, Any]:
    """How argparse reads a setting. Ranges and choices are left to the model, which also checks files and key=value."""
    if setting.types == ("boolean",):
        return {"action": "store_true", "default": None}
    if "integer" in setting.types:
        return {"type": int, "metavar": "N"}
    if "number" in setting.types:
        return {"type": float, "metavar": "X"}
    if setting.types == ("array",):
        return {"type": _numbers, "metavar": "X,..."}
    several = {"action": "append"} if {"string", "array"} <= set(setting.types) else {}
    return {**several, "metavar": setting.flag.rpartition("-")[2].upper()}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        message = f"{text!r}: expected a number, or several with commas between them, such as 0.5,0.5,0.5"
        raise argparse.ArgumentTypeError(message) from None


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Which data set, and where it is."""
    add_settings(parser.add_argument_group("data"), DATA)


def add_teacher_options(parser: argparse.ArgumentParser, cache: bool = True) -> None:
    """Which teacher, and through which cache where the verb is not about one itself."""
    add_settings(parser.add_argument_group("teacher"), TEACHER + (CACHE if cache else ()))


def add_run_options(parser: argparse.ArgumentParser, *, writes: bool = True) -> None:
    """The options that train, distill and doctor share; ``writes`` is whether the verb leaves a run's folder."""
    add_data_options(parser)
    add_settings(parser.add_argument_group("training"), (*SPLIT, *TRAINING, *SPEED))
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings, or a run's run.yaml")
    if writes:
        add_processes_option(parser)
        add_checkpoint_option(parser)
        add_force_option(parser)
        add_track_option(parser)
        parser.add_argument("--profile", action="store_true", help="write where the time of some steps went")
        parser.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help="folder for the run; must be empty or absent"
        )
    add_overrides(parser)
    add_output_options(parser)


def add_overrides(parser: argparse.ArgumentParser, what: str = "any setting, such as training.momentum=0.8") -> None:
    """Settings as ``key=value``."""
    parser.add_argument("override", nargs="*", metavar="key=value", help=what)


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """How often to write a checkpoint."""
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time between checkpoints, from which preceptor resume continues (default 60)",
    )


def add_processes_option(parser: argparse.ArgumentParser) -> None:
    """In how many processes of this machine to train."""
    parser.add_argument(
        *OPTIONS,
        type=int,
        dest="gpus",
        default=1,
        metavar="N",
        help="train in N processes, one a GPU, or on the CPU with --device cpu; the batch size is that of all together",
    )


def add_launcher_options(parser: argparse.ArgumentParser, calls: str) -> None:
    """Where calls run: in processes of this machine, as jobs of Slurm, or on Ray."""
    group = parser.add_argument_group(f"where {calls} run")
    group.add_argument(
        "--launcher", metavar="NAME", help="processes (default), slurm, ray, or local: jobs without Slurm"
    )
    group.add_argument("--slurm", action="append", metavar="KEY=VALUE", help="of sbatch for each job: partition=gpu")
    group.add_argument("--ray", action="append", metavar="KEY=VALUE", help="of Ray for each task: num_gpus=1")


def launcher_of(arguments: argparse.Namespace) -> "Launcher":
    """The launcher of :func:`add_launcher_options`; ``--slurm`` or ``--ray`` alone name theirs.

    Raises:
        InputError: an unknown launcher or setting, or settings of another launcher.
        MachineError: a package or Slurm is missing.
    """
    from preceptor.compare.launchers import make_launcher

    asked = {name: texts for name in ("slurm", "ray") if (texts := getattr(arguments, name))}
    name = arguments.launcher or next(iter(asked), "processes")
    for other in asked:
        if other != name:
            raise InputError(f"--{other} with --launcher {name}: leave one of the two out")
    settings = dict(_job_setting(name, text) for text in asked.get(name, ()))
    return make_launcher(name, arguments.out, settings)


def _job_setting(launcher: str, text: str) -> tuple[str, Any]:
    """Numbers, lists, true and false are JSON; all else is text, as times of sbatch, which YAML reads as base 60."""
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        example = {"slurm": "partition=gpu", "ray": "num_gpus=1"}[launcher]
        raise InputError(f"--{launcher} {text}: expected KEY=VALUE, such as {example}")
    with suppress(ValueError):
        return key, json.loads(value)
    return key, value


def add_force_option(parser: argparse.ArgumentParser) -> None:
    """Whether to train in spite of a problem."""
    parser.add_argument("--force", action="store_true", help="train in spite of a problem that the quick check finds")


def add_track_option(parser: argparse.ArgumentParser, what: str = "log the run in") -> None:
    """Which experiment trackers log the run. Not a setting of the run: ``run.yaml`` names none."""
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="TRACKER[:PLACE]",
        help=f"{what} tensorboard[:DIR], mlflow[:URI] or wandb[:PROJECT]; may be repeated",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How to show results: for people, or for scripts."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def add_code_option(parser: argparse.ArgumentParser) -> None:
    """Whose code may be run for a network that a file names."""
    parser.add_argument(
        "--allow-code",
        action="append",
        metavar="MODULE",
        help="import this module for a network that a run or configuration names as MODULE:FUNCTION",
    )


def allow_code_of(arguments: argparse.Namespace) -> None:
    """Allow the modules of --allow-code, and those of networks that the command line itself names.

    A network that a file names may be a stranger's, so the command line has to allow it.

    Raises:
        InputError: an --allow-code that is no module's name.
    """
    flags = [getattr(arguments, key, None) or () for key in ("student", "teacher")]
    texts = [text for flag in flags for text in ([flag] if isinstance(flag, (str, Path)) else flag)]
    settings = [text.partition("=") for text in getattr(arguments, "override", ())]
    texts += [value for key, _, value in settings if key in ("student", "teacher")]
    named = [str(text) for text in texts if ":" in str(text)]
    allowed = getattr(arguments, "allow_code", None) or ()
    if named or allowed:
        from preceptor.models.custom import allow_code, code_module

        for module in [*allowed, *filter(None, map(code_module, named))]:
            allow_code(module)


def flag_settings(arguments: argparse.Namespace) -> list[tuple[str, Any]]:
    """The settings set by flags, as dotted keys and values."""
    flags = [(key, getattr(arguments, key, None)) for key in read_settings()]
    return [(key, value) for key, value in flags if value is not None]


def command_settings(arguments: argparse.Namespace) -> list[tuple[str, Any]]:
    """The settings set by flags and by ``key=value``, as dotted keys and values.

    Raises:
        InputError: one that is set twice, or is no ``key=value``.
    """
    from preceptor.config import parse_override

    settings = flag_settings(arguments)
    for text in arguments.override:
        key, value = parse_override(text)
        if any(key == other for other, _ in settings):
            raise InputError(f"{text}: {key} is set twice: give it once")
        settings.append((key, value))
    return settings


def shown_student(arguments: argparse.Namespace) -> "EvaluationData":
    """The student ``run``, and the ``split`` of the data set that :func:`add_data_options` names."""
    from preceptor.run.evaluation import load_evaluation_data

    return load_evaluation_data(arguments.run, split=arguments.split, **chosen_data(arguments))


def chosen_data(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`add_data_options`, by the names of their settings."""
    return {
        "data": arguments.data,
        "data_root": Path(arguments.data_root) if arguments.data_root else None,
        "download": bool(arguments.download),
        "image_size": arguments.image_size,
        "skip_bad_images": bool(arguments.skip_bad_images),
    }
