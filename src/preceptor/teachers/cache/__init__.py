"""The cache of teacher outputs of every sample in every view, queried once and kept on the disk."""

from preceptor.teachers.cache.cache import LogitCache, LookupResult, open_cache, open_readonly
from preceptor.teachers.cache.metadata import CacheKey, CacheMetadata, Layout
from preceptor.teachers.cache.upkeep import Info, count_missing, fill, info, verify

__all__ = [
    "CacheKey",
    "CacheMetadata",
    "Info",
    "Layout",
    "LogitCache",
    "LookupResult",
    "count_missing",
    "fill",
    "info",
    "open_cache",
    "open_readonly",
    "verify",
]
