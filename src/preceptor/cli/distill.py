"""``preceptor distill``: a student from a teacher, with a recipe."""

import argparse

EXAMPLES = """examples:
  preceptor distill --teacher runs/teacher --student convnet8 --recipe ka-ps --out runs/student
  preceptor distill --teacher runs/teacher --recipe label-revision --out runs/lr recipe.correction.eta=0.5
  preceptor distill --teacher runs/fashion-teacher --data fashion-mnist --student resnet8 \\
      --recipe kd --out runs/kd training.epochs=30 recipe.temperature.temperature=2
  preceptor distill --teacher runs/teacher --cache caches/digits --recipe kd --out runs/from-cache
  preceptor distill --teacher big.onnx --teacher-output logits --recipe kd --out runs/from-onnx
  preceptor distill --teacher runs/teacher --teacher runs/other --recipe kd --out runs/from-two
  preceptor distill --config runs/kd/run.yaml --seed 1 --out runs/kd-seed-1

A cache in --cache is made where there is none and filled with what the run asks; one that is filled enough teaches
without --teacher. A .npy or .parquet file says the same of every view of an image: with augment=false the student is
shown what its teacher saw.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_run_options, add_student_options, add_teacher_options

    parser.epilog = EXAMPLES
    add_student_options(parser)
    add_teacher_options(parser)
    add_run_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Distil and show."""
    from preceptor.cli.training import train_and_show

    train_and_show(arguments, {"student": "convnet8", "recipe": "kd"})
