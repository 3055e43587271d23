"""The cache: what a teacher says of every sample in every view, asked once and kept on the disk (DESIGN section 6)."""

from preceptor.teachers.cache.cache import LogitCache, LookupResult, open_cache, open_readonly
from preceptor.teachers.cache.features import FeatureSignal, PooledTeacher
from preceptor.teachers.cache.fill import fill
from preceptor.teachers.cache.layout import Layout, Plan, plan
from preceptor.teachers.cache.metadata import CacheKey
from preceptor.teachers.cache.verify import Info, Verified, info, spot_check, verify

__all__ = [
    "CacheKey",
    "FeatureSignal",
    "Info",
    "Layout",
    "LogitCache",
    "LookupResult",
    "Plan",
    "PooledTeacher",
    "Verified",
    "fill",
    "info",
    "open_cache",
    "open_readonly",
    "plan",
    "spot_check",
    "verify",
]
