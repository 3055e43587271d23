"""One target under libFuzzer's eyes: ``python experiments/fuzz/target.py NAME CORPUS [libFuzzer options]``.

``run.py`` starts it; by hand it replays a finding: ``python experiments/fuzz/target.py NAME path/to/finding``.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))


def main() -> None:
    name = sys.argv.pop(1)
    # Our own code and what reads for us in Python is counted; torch's is left alone, for it takes minutes to prepare.
    with atheris.instrument_imports(
        include=["preceptor", "yaml", "PIL", "numpy.lib", "zipfile", "json", "pickletools"]
    ):
        from tests.fuzz.targets import TARGETS, attempt

        TARGETS[name].seeds()
    folder = Path(tempfile.mkdtemp(prefix="preceptor-fuzz-")) / "work"
    TARGETS[name].run(fresh(folder), TARGETS[name].seeds()[0])  # imports what it needs before the clock runs
    atheris.Setup(sys.argv, lambda content: attempt(name, folder, content))
    atheris.Fuzz()


def fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
