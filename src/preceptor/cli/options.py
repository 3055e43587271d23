"""Options that verbs share, and how they become a run's configuration."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.run.evaluation import EvaluationData

FLAGS = {
    "data": "data",
    "data_root": "data_root",
    "download": "download",
    "image_size": "image_size",
    "skip_bad_images": "skip_bad_images",
    "train_labels": "train_labels",
    "train_images": "train_images",
    "validation": "validation",
    "student": "student",
    "teacher": "teacher",
    "teacher_output": "teacher_output",
    "ensemble_mean": "ensemble_mean",
    "cache": "cache",
    "cache_top_k": "cache_top_k",
    "recipe": "recipe",
    "training": "training",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "lr": "training.learning_rate",
    "seed": "seed",
    "split_seed": "split_seed",
    "device": "device",
    "precision": "precision",
    "compile": "compile",
    "keep_checkpoints": "keep_checkpoints",
    "scores": "scores",
}
"""Command-line flag to key of the configuration."""


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How to show results: for people, or for scripts."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Which data set, and where it lies."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", help="digits, mnist, fashion-mnist, cifar10, cifar100, arrays:FILE.npz or folder:DIR (default digits)"
    )
    group.add_argument(
        "--data-root", help="where named data sets lie (default $PRECEPTOR_DATA, else ~/.cache/preceptor/data)"
    )
    group.add_argument("--download", action="store_true", default=None, help="fetch a named data set that is not there")
    group.add_argument("--image-size", type=int, help="resize the images of a folder to this side, in pixels")
    group.add_argument(
        "--skip-bad-images",
        action="store_true",
        default=None,
        help="leave out images of a folder that cannot be used, and say which (default: refuse the folder)",
    )


def shown_student(arguments: argparse.Namespace) -> "EvaluationData":
    """The student ``run``, and the ``split`` of the data set that :func:`add_data_options` names."""
    from preceptor.run.evaluation import load_evaluation_data

    return load_evaluation_data(
        arguments.run,
        data=arguments.data,
        data_root=Path(arguments.data_root) if arguments.data_root else None,
        download=bool(arguments.download),
        image_size=arguments.image_size,
        skip_bad_images=bool(arguments.skip_bad_images),
        split=arguments.split,
    )


def add_teacher_options(parser: argparse.ArgumentParser, cache: bool = True) -> None:
    """Who teaches, and through which cache where the verb is not about one itself."""
    group = parser.add_argument_group("teacher")
    group.add_argument(
        "--teacher",
        action="append",
        help="run folder (preceptor train makes one), FILE.onnx, or FILE.npy or FILE.parquet of what it said of each "
        "training image; give it several times for an ensemble",
    )
    group.add_argument(
        "--teacher-output", help="what the numbers of .onnx, .npy and .parquet are: logits, probabilities"
    )
    group.add_argument("--ensemble-mean", help="of several teachers: probabilities (default) or logits")
    if cache:
        group.add_argument(
            "--cache", help="folder that keeps what the teacher says, so that it is asked once (preceptor cache)"
        )
        group.add_argument("--cache-top-k", type=int, help="a cache to be made keeps the largest logits alone")


def add_speed_options(group: argparse._ActionsContainer) -> None:
    """Where and how networks compute."""
    group.add_argument("--device", help="auto (default), cpu or cuda")
    group.add_argument(
        "--precision", help="auto (default: bf16 where the device has units for it, else fp32), fp32 or bf16"
    )
    group.add_argument("--compile", help="auto (default: where the run is long enough to pay for it), never or always")


def add_student_options(parser: argparse.ArgumentParser) -> None:
    """Who is taught, and how."""
    parser.add_argument(
        "--student", help="architecture: resnet8, resnet8x4, convnet8, timm:NAME, ... (default convnet8)"
    )
    parser.add_argument("--recipe", help="a recipe's name (see preceptor methods) or a .yaml file (default kd)")
    parser.add_argument("--scores", help="score file for the recipe's selection (preceptor select writes one)")


def add_run_options(parser: argparse.ArgumentParser, writes: bool = True) -> None:
    """Everything else that train and distill share; without what is for a run that leaves a folder, if it does not."""
    add_data_options(parser)
    group = parser.add_argument_group("training")
    group.add_argument("--train-labels", help=".npy file of labels to train on in place of the data set's own")
    group.add_argument("--train-images", type=int, help="train on a stratified subset of this many images")
    group.add_argument("--validation", type=float, help="share of training images held out (default 0.1)")
    group.add_argument("--training", help="short (20 epochs, cosine; default) or standard (240 epochs, steps)")
    group.add_argument("--epochs", type=int)
    group.add_argument("--batch-size", type=int)
    group.add_argument("--lr", type=float, help="learning rate at the start (default 0.05)")
    group.add_argument("--seed", type=int, help="of weights, order and views (default 0)")
    group.add_argument("--split-seed", type=int, help="of what is held out; keep the teacher's (default 0)")
    add_speed_options(group)
    group.add_argument("--keep-checkpoints", type=int, help="keep so many moments of the training (default none)")
    parser.add_argument("--config", type=Path, help="a YAML file of settings, or the run.yaml of an earlier run")
    if writes:
        add_checkpoint_option(parser)
        parser.add_argument("--profile", action="store_true", help="write where the time of some steps went")
        parser.add_argument("--out", type=Path, required=True, help="folder for the run; must be empty or absent")
    parser.add_argument(
        "override", nargs="*", metavar="key=value", help="any setting, for example training.momentum=0.8"
    )
    add_output_options(parser)


def flag_settings(arguments: argparse.Namespace) -> list[tuple[str, Any]]:
    """The settings given as flags, as dotted overrides."""
    flags = [(key, getattr(arguments, flag, None)) for flag, key in FLAGS.items()]
    return [(key, value) for key, value in flags if value is not None]


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """How often to keep what a stopped run goes on from."""
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time between checkpoints, from which preceptor resume goes on (default 60)",
    )


def given_settings(arguments: argparse.Namespace) -> list[tuple[str, Any]]:
    """The settings given as flags, then those given as ``key=value``, as dotted overrides."""
    from preceptor.config import parse_override

    return flag_settings(arguments) + [parse_override(text) for text in arguments.override]
