"""Findings of the doctor, and the diagnosis they add up to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "problem"]
"""A problem spoils the run or makes it meaningless; a warning is worth a look and may be intended."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: of the check, such as "label order".
        status: "ok", "warning" or "problem".
        message: what the check saw.
        remedy: what to do; empty where there is nothing to do.
        numbers: the evidence, ready for JSON.
    """

    name: str
    status: Status
    message: str
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Name, message and remedy on one line."""
        return f"{self.name}: {self.message}" + (f": {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Diagnosis:
    """All findings.

    Attributes:
        findings: in the order of the checks.
        quick: whether only the checks were made that cost next to nothing at the start of a run.
    """

    findings: tuple[Finding, ...]
    quick: bool

    def of(self, status: Status) -> tuple[Finding, ...]:
        """The findings of one status."""
        return tuple(finding for finding in self.findings if finding.status == status)

    @property
    def worth_a_look(self) -> tuple[Finding, ...]:
        """The problems and the warnings."""
        return tuple(finding for finding in self.findings if finding.status != "ok")

    def plain(self) -> dict[str, Any]:
        """The diagnosis, ready for JSON."""
        counts = {"problems": len(self.of("problem")), "warnings": len(self.of("warning"))}
        return {**counts, "quick": self.quick, "findings": [asdict(finding) for finding in self.findings]}
