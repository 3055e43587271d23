"""Runs: one training run from a checked configuration to a folder."""

from preceptor.run.config import RunConfig, read_config, resolve
from preceptor.run.folder import RunFolder, versions
from preceptor.run.replay import Replayed, replay
from preceptor.run.resume import resume, stopped_run
from preceptor.run.train import RunResult, run

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
