"""What torchrun says in the environment; torch itself is not needed to read it."""

import os

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
RESTARTS = "TORCHELASTIC_RESTART_COUNT"


def launched() -> tuple[int, int]:
    """Number of this process and of all, as torchrun started them; (0, 1) without it."""
    if not all(name in os.environ for name in VARIABLES):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def processes_here() -> int:
    """How many of the processes that torchrun started share this host, its memory and its cores; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched()[1] > 1 else 1


def restarts() -> int:
    """How often torchrun has started the group anew (``--max-restarts``), after one of its processes ended."""
    return int(os.environ.get(RESTARTS, "0"))
