"""``preceptor distill``: a student from a teacher, with a recipe."""

import argparse

from preceptor.cli.options import STUDENT, add_run_options, add_settings, add_teacher_options

EXAMPLES = """examples:
  preceptor distill --teacher runs/teacher --student convnet8 --recipe ka-ps --out runs/student
  preceptor distill --teacher runs/teacher --recipe label-revision --out runs/lr recipe.correction.eta=0.5
  preceptor distill --teacher runs/fashion-teacher --data fashion-mnist --student resnet8 \\
      --recipe kd --out runs/kd training.epochs=30 recipe.temperature.temperature=2
  preceptor distill --teacher runs/teacher --cache caches/digits --recipe kd --out runs/from-cache
  preceptor distill --teacher big.onnx --teacher-output logits --recipe kd --out runs/from-onnx
  preceptor distill --teacher runs/teacher --teacher runs/other --recipe kd --out runs/from-two
  preceptor distill --config runs/kd/run.yaml --seed 1 --out runs/kd-seed-1

--cache makes a missing cache and fills it with the outputs that the run queries; a cache that holds them all needs no
--teacher. A .npy or .parquet file holds one output an image, whatever its view: augment=false trains on the unaugmented
images.
"""

DEFAULTS = {"student": "convnet8", "recipe": "safe"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    add_settings(parser.add_argument_group("student"), STUDENT, defaults=DEFAULTS)
    add_teacher_options(parser)
    add_run_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Distill and show."""
    from preceptor.cli.training import train_and_show

    train_and_show(arguments, DEFAULTS)
