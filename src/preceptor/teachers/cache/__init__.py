"""The cache of teacher outputs of every sample in every view, queried once and kept on the disk."""

from preceptor.teachers.cache.cache import LogitCache, LookupResult, open_cache, open_readonly
from preceptor.teachers.cache.locks import Part
from preceptor.teachers.cache.metadata import CacheKey, CacheMetadata, Layout
from preceptor.teachers.cache.remote import cache_place
from preceptor.teachers.cache.upkeep import bytes_used, copy, count_missing, fill, verify

__all__ = [
    "CacheKey",
    "CacheMetadata",
    "Layout",
    "LogitCache",
    "LookupResult",
    "Part",
    "bytes_used",
    "cache_place",
    "copy",
    "count_missing",
    "fill",
    "open_cache",
    "open_readonly",
    "verify",
]
