"""What the doctor says: findings, and the diagnosis they make up."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "problem"]
"""A problem spoils the run or makes it meaningless; a warning is worth a look, and may be meant."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what, in a word or two.
        status: how it stands.
        found: what was found.
        remedy: what to do; empty when nothing is to be done.
        numbers: what it rests on, ready for JSON.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """On one line: what was found and what to do."""
        return f"{self.name}: {self.found}" + (f": {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Diagnosis:
    """All findings.

    Attributes:
        findings: in the order in which they were made.
        quick: whether only that was looked at which costs nothing at the start of a run.
    """

    findings: tuple[Finding, ...]
    quick: bool

    def of(self, status: Status) -> tuple[Finding, ...]:
        """The findings of a status."""
        return tuple(finding for finding in self.findings if finding.status == status)

    @property
    def worth_a_look(self) -> tuple[Finding, ...]:
        """The problems and the warnings."""
        return tuple(finding for finding in self.findings if finding.status != "ok")

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        counts = {"problems": len(self.of("problem")), "warnings": len(self.of("warning"))}
        return {**counts, "quick": self.quick, "findings": [asdict(finding) for finding in self.findings]}
