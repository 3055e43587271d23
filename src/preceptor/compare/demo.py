"""The demo: a teacher that knows upright digits, and students of somebody whose scans are tilted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.compare.comparison import Comparison, comparison
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.run_comparison import ComparisonProgress, run_comparison
from preceptor.data import Dataset, hold_out, load_dataset, subset
from preceptor.files import check_writable
from preceptor.run import resolve, resume, run
from preceptor.run.doctor import Finding
from preceptor.run.resume import run_state

RECIPES = ("none", "kd", "drop-wrong", "ka-ps", "corrected-cmkd", "safe")
IMAGES, DEGREES = 60, 8.0
TEACHER_EPOCHS, STUDENT_EPOCHS = 30, 80

COMPARED = "compared"
"""The comparison's folder, in that of the demo."""

SETTING = (
    "Handwritten digits. The teacher learned from some 800 upright ones. Yours come from another scanner, tilted by "
    f"{DEGREES:g} degrees, and you have labels for {IMAGES} of them. Students of {len(RECIPES)} recipes learn from "
    f"these, each several times with other weights, order and views; labels alone (none) are the baseline."
)
DOES_NOT_SHOW = (
    "how large the gain is for your data and your teacher: the digits are tiny, and the tilt was chosen, among others "
    "tried, because checking the teacher pays at it. With a teacher of your own kind of images plain distillation is "
    "level with the checked recipes; docs/when-to-check.md has other settings."
)


def run_demo(
    out: Path,
    *,
    seeds: int,
    device: str = "auto",
    on_finding: Callable[[Finding], None] = lambda finding: None,
    progress: ComparisonProgress | None = None,
) -> ComparisonResult:
    """Train the teacher and compare the recipes; a folder of an earlier demo goes on, and a complete one is read.

    Raises:
        InputError: a folder of something else, or a number of seeds below 1.
        MachineError: it cannot be written.
    """
    check_writable(out)
    files = write_data(out, load_dataset("digits"))
    teacher = out / "teacher"
    state = run_state(teacher)
    if state == "absent":
        training = {"epochs": TEACHER_EPOCHS}
        content = {"data": f"arrays:{files[0]}", "student": "convnet32", "training": training, "validation": 0.0}
        run(resolve({**content, "recipe": "none", "device": device}), teacher)
    elif state == "stopped":
        resume(teacher)
    plan = demo_comparison(files[1], teacher, seeds, device)
    return run_comparison(plan, out / COMPARED, on_finding=on_finding, progress=progress)


def demo_comparison(data: Path, teacher: Path, seeds: int, device: str) -> Comparison:
    """The recipes of the demo on the students' data."""
    content = {
        "data": f"arrays:{data}",
        "student": "convnet8",
        "training": {"epochs": STUDENT_EPOCHS},
        "validation": 0.2,
        "device": device,
    }
    return comparison(RECIPES, run=content, teachers={"upright": teacher}, seeds=seeds, baseline="none")


def write_data(out: Path, digits: Dataset) -> tuple[Path, Path]:
    """The teacher's data and the students', which share no image; written anew, in the same bytes."""
    assert digits.test is not None
    train, test = digits.train, digits.test
    pool, rest = hold_out(train.labels, 0.4, seed=0)
    chosen = rest[subset(train.labels[rest], IMAGES, seed=0)]
    upright, students = out / "upright.npz", out / "tilted.npz"
    _save(upright, train.images[pool], train.labels[pool], test.images[:], test.labels)
    _save(students, tilted(train.images[chosen]), train.labels[chosen], tilted(test.images[:]), test.labels)
    return upright, students


def tilted(images: UInt8[Tensor, "n 1 height width"], degrees: float = DEGREES) -> UInt8[Tensor, "n 1 height width"]:
    """Images turned about their middle, counterclockwise, by linear interpolation; what comes in repeats the edge."""
    from scipy.ndimage import rotate

    turned = rotate(images.float().numpy(), degrees, axes=(3, 2), reshape=False, order=1, mode="nearest")
    return torch.from_numpy(turned).round().clamp(0, 255).to(torch.uint8)


def _save(path: Path, images: Tensor, labels: Int[Tensor, " n"], test_images: Tensor, test: Tensor) -> None:
    np.savez(
        path,
        train_images=images.squeeze(1).numpy(),
        train_labels=labels.numpy(),
        test_images=test_images.squeeze(1).numpy(),
        test_labels=test.numpy(),
    )
