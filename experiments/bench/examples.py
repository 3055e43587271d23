"""What the examples print: ``python -m experiments.bench.examples`` runs them and writes the result file."""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from experiments.bench.common import RESULTS, write_json
from preceptor.run import versions

ROOT = Path(__file__).parents[2]
EXAMPLES = {"own_network": [], "file_of_outputs": ["files"]}
"""Scripts and their arguments."""

OF_THE_MACHINE = "run folder:"


def shown(content: dict[str, Any], name: str) -> str:
    """What a script printed, as a code block, under its command."""
    command = " ".join(["python", f"examples/{name}.py", *EXAMPLES[name]])
    lines = [f"$ {command}", *content["outputs"][name]]
    return "\n".join(["```text", *lines, "```"])


own_network = partial(shown, name="own_network")
file_of_outputs = partial(shown, name="file_of_outputs")


def printed(name: str) -> list[str]:
    """The lines that an example prints, but for the place of its run."""
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *EXAMPLES[name]]
        run = subprocess.run(script, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{name}: {run.stderr}")
    return [line for line in run.stdout.splitlines() if not line.startswith(OF_THE_MACHINE)]


def main() -> None:
    """Run each example in a folder of its own."""
    outputs = {name: printed(name) for name in EXAMPLES}
    write_json({"outputs": outputs, "versions": versions()}, RESULTS / "examples.json")
    for name, lines in outputs.items():
        print(name, *lines, sep="\n")


if __name__ == "__main__":
    main()
