"""Audit of a teacher: where it errs, who is wrong where it contradicts a label, and which recipe to try first."""

from preceptor.audit.advice import Advice, advise
from preceptor.audit.base_rate import BaseRate
from preceptor.audit.examine import MemberFacts, TeacherAudit, audit
from preceptor.audit.files import plain, write_audit
from preceptor.audit.verdicts import Verdicts, judge
from preceptor.context import Verdict

__all__ = [
    "Advice",
    "BaseRate",
    "MemberFacts",
    "TeacherAudit",
    "Verdict",
    "Verdicts",
    "advise",
    "audit",
    "judge",
    "plain",
    "write_audit",
]
