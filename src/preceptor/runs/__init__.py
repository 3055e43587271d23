"""Runs: one training run from a checked configuration to a folder."""

from preceptor.runs.config import RunConfig, read_config, resolve
from preceptor.runs.folder import RunFolder, versions
from preceptor.runs.single import RunResult, run

__all__ = ["RunConfig", "RunFolder", "RunResult", "read_config", "resolve", "run", "versions"]
