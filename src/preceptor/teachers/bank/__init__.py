"""The bank: what a teacher says of every sample in every view, asked once and kept on the disk (DESIGN section 6)."""

from preceptor.teachers.bank.bank import Bank, Recalled, look_into, open_bank
from preceptor.teachers.bank.card import Fingerprint
from preceptor.teachers.bank.features import FeatureSignal, PooledTeacher
from preceptor.teachers.bank.fill import fill
from preceptor.teachers.bank.layout import Layout, Plan, plan
from preceptor.teachers.bank.upkeep import Info, Verified, info, spot_check, verify

__all__ = [
    "Bank",
    "FeatureSignal",
    "Fingerprint",
    "Info",
    "Layout",
    "Plan",
    "PooledTeacher",
    "Recalled",
    "Verified",
    "fill",
    "info",
    "look_into",
    "open_bank",
    "plan",
    "spot_check",
    "verify",
]
