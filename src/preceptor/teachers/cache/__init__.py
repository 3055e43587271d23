"""The cache of teacher outputs of every sample in every view, queried once and kept on the disk."""

from preceptor.teachers.cache.cache import LogitCache, LookupResult, open_cache, open_readonly
from preceptor.teachers.cache.fill import count_missing, fill
from preceptor.teachers.cache.metadata import CacheKey, CacheMetadata, Layout
from preceptor.teachers.cache.verify import Info, info, verify

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
