"""Runs: one training run from a checked configuration to a folder."""

from preceptor.runs.config import RunConfig, read_config, resolve
from preceptor.runs.folder import RunFolder, versions
from preceptor.runs.replay import Replayed, replay
from preceptor.runs.resume import resume, stopped_run
from preceptor.runs.single import RunResult, run

__all__ = [
    "Replayed",
    "RunConfig",
    "RunFolder",
    "RunResult",
    "read_config",
    "replay",
    "resolve",
    "resume",
    "run",
    "stopped_run",
    "versions",
]
