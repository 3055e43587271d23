"""Findings of the doctor, and the diagnosis they add up to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from preceptor.errors import InputError

Status = Literal["ok", "warning", "problem"]
"""A problem spoils the run or makes it meaningless; a warning is worth a look and may be intended."""


@dataclass(frozen=True)
class Finding:
    """The result of one check: what it saw, what to do (empty where there is nothing), and the numbers, for JSON."""

    name: str
    status: Status
    message: str
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        return f"{self.name}: {self.message}" + (f": {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of the checks; ``quick`` are those that cost next to nothing at the start of a run."""

    findings: tuple[Finding, ...]
    quick: bool

    def of(self, status: Status) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.status == status)

    @property
    def worth_a_look(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.status != "ok")

    def plain(self) -> dict[str, Any]:
        counts = {"problems": len(self.of("problem")), "warnings": len(self.of("warning"))}
        return {**counts, "quick": self.quick, "findings": [asdict(finding) for finding in self.findings]}


class ProblemsFound(InputError):
    """The doctor found problems, and the run was not forced."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        lines = "; ".join(finding.line() for finding in diagnosis.of("problem"))
        super().__init__(f"{lines} (train all the same with --force)")
        self.diagnosis = diagnosis

    def __reduce__(self) -> tuple[type["ProblemsFound"], tuple[Diagnosis]]:
        """As it comes back from the process of a fold."""
        return type(self), (self.diagnosis,)
