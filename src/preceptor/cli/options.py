"""Options that verbs share, and how they become a run's configuration."""

import argparse
from pathlib import Path
from typing import Any

FLAGS = {
    "data": "data",
    "data_root": "data_root",
    "download": "download",
    "image_size": "image_size",
    "train_labels": "train_labels",
    "train_images": "train_images",
    "validation": "validation",
    "student": "student",
    "teacher": "teacher",
    "recipe": "recipe",
    "protocol": "protocol",
    "epochs": "protocol.epochs",
    "batch_size": "protocol.batch_size",
    "lr": "protocol.learning_rate",
    "seed": "seed",
    "split_seed": "split_seed",
    "device": "device",
    "precision": "precision",
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


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Everything else that train and distill share."""
    add_data_options(parser)
    group = parser.add_argument_group("training")
    group.add_argument("--train-labels", help=".npy file of labels to train on in place of the data set's own")
    group.add_argument("--train-images", type=int, help="train on a stratified subset of this many images")
    group.add_argument("--validation", type=float, help="share of training images held out (default 0.1)")
    group.add_argument("--protocol", help="short (20 epochs, cosine; default) or standard (240 epochs, steps)")
    group.add_argument("--epochs", type=int)
    group.add_argument("--batch-size", type=int)
    group.add_argument("--lr", type=float, help="learning rate at the start (default 0.05)")
    group.add_argument("--seed", type=int, help="of weights, order and views (default 0)")
    group.add_argument("--split-seed", type=int, help="of what is held out; keep the teacher's (default 0)")
    group.add_argument("--device", help="auto (default), cpu or cuda")
    group.add_argument("--precision", help="fp32 (default) or bf16")
    group.add_argument("--keep-checkpoints", type=int, help="keep so many moments of the training (default none)")
    parser.add_argument("--config", type=Path, help="a YAML file of settings, or the run.yaml of an earlier run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run; must be empty or absent")
    parser.add_argument(
        "override", nargs="*", metavar="key=value", help="any setting, for example protocol.momentum=0.8"
    )
    add_output_options(parser)


def given_settings(arguments: argparse.Namespace) -> list[tuple[str, Any]]:
    """The settings given as flags, then those given as ``key=value``, as dotted overrides."""
    from preceptor.config import parse_override

    flags = [(key, getattr(arguments, flag, None)) for flag, key in FLAGS.items()]
    return [(key, value) for key, value in flags if value is not None] + [
        parse_override(text) for text in arguments.override
    ]
