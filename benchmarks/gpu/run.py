"""Runs the next entries of the GPU list that are not done yet; see benchmarks/gpu/README.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu.runner import main

if __name__ == "__main__":
    sys.exit(main())
