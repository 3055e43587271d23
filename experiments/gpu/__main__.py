"""Run the GPU list: ``python -m experiments.gpu --out FOLDER``. Needs nothing but Python; its entries need more."""

import argparse
import sys
from pathlib import Path

from experiments.gpu.entries import ENTRIES
from experiments.gpu.runner import run_entries


def main() -> int:
    """Parse and run; 0 when every entry of the list, or of those named, is done."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.gpu",
        description="\n".join(f"{entry.name}: {entry.about}" for entry in ENTRIES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu"), help="folder of the results and the runs (default runs/gpu)"
    )
    parser.add_argument(
        "--entries", nargs="+", choices=[entry.name for entry in ENTRIES], metavar="NAME", help="only these"
    )
    parser.add_argument("--minutes", type=float, default=9, help="for all of them together (default 9)")
    parser.add_argument("--teacher-epochs", type=int, default=24, help="of the teacher (default 24)")
    parser.add_argument("--epochs", type=int, default=10, help="of the students (default 10)")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="folder of CIFAR-100 (default .data)")
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu, to try the list out")
    arguments = parser.parse_args()
    chosen = [entry for entry in ENTRIES if arguments.entries is None or entry.name in arguments.entries]
    return run_entries(chosen, arguments.out, minutes=arguments.minutes, values=vars(arguments))


if __name__ == "__main__":
    sys.exit(main())
