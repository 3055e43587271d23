"""The demo's table: ``python -m experiments.bench.demo`` runs it and writes its result file."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from experiments.bench.common import RESULTS, table
from preceptor.cli.demo import SEEDS
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.demo import run_demo
from preceptor.compare.format import points
from preceptor.result_files import write_result


def markdown(content: dict[str, Any]) -> str:
    """The recipes, the highest mean first, and how they were measured."""
    result = ComparisonResult.model_validate(content)
    heading = ["recipe", "accuracy, %", f"difference to {result.baseline}, points", "ECE, %", "errors copied, %"]
    rows = []
    for arm in sorted(result.arms, key=lambda arm: -arm.accuracy.mean):
        meets, gain = arm.beside_teacher, "–"
        assert meets is not None, "the demo's teacher is a network"
        wrong = meets["mended"] + meets["copied"] + meets["other_mistake"]
        if arm.difference is not None:
            interval = f"[{points(arm.difference.low)}, {points(arm.difference.high)}]"
            gain = f"{points(arm.difference.mean)} {interval}"
        spread = f" ± {100 * (arm.accuracy.deviation or 0):.2f}"
        copied = f"{100 * meets['copied'] / wrong:.0f}"
        rows.append([arm.recipe, f"{100 * arm.accuracy.mean:.2f}{spread}", gain, f"{100 * arm.ece.mean:.0f}", copied])
    (teacher,) = result.teachers
    notes = (
        f"Mean and deviation over {len(result.arms[0].seeds)} seeds on {result.samples} test images, used once for "
        "each student, after its last epoch; paired differences with intervals that hold together in 95 % of such "
        f"tables. The teacher is right on {100 * (teacher.accuracy or 0):.1f} % of the test images; errors copied are "
        f"the share of its errors that a student repeats. Made by `preceptor demo` ({result.versions['machine']}, "
        f"torch {result.versions['torch']})."
    )
    return f"{table(heading, rows)}\n\n{notes}"


def main() -> None:
    """Run it in a folder of its own, whose place is no part of the result."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        result = run_demo(Path("demo"), seeds=SEEDS)
    write_result(result, RESULTS / "demo.json")
    print(markdown(result.model_dump(mode="json")))


if __name__ == "__main__":
    main()
