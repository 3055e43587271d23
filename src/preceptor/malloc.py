"""How the C library deals with memory that a training step has freed."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Numbers of glibc's ``malloc.h``."""

LARGEST_KEPT = 256 * 2**20
"""Bytes: what 64 images of 224 x 224 take in 64 channels and single precision, and some more."""

LARGEST_OLD_ONES_KEEP = 32 * 2**20
"""What older versions of glibc, which refuse more, allow on 64 bits (not so 2.36)."""

SETTINGS = ("mmap_max", "mmap_threshold", "top_pad", "trim_threshold")
"""As ``MALLOC_..._`` in the environment, or as ``glibc.malloc....`` in ``GLIBC_TUNABLES``."""


def tune_malloc() -> bool:
    """Let this process keep what it frees for its next step, where the C library is glibc and nobody else decided.

    By default glibc gives large blocks back to the system, which then clears every page of them again in the next
    step: on 2 cores 2,000 to 9,000 page faults in each step of a small ResNet at batch 64. Kept, there are under 200,
    and a step in fp32 took 3 to 10 % less of the processor's time; in bf16 hardly less.

    The process stays as large as it ever was, but for blocks above ``LARGEST_KEPT``. That holds for all of it, so
    this is for programs, not for libraries. To call it twice does no harm. Another allocator (tcmalloc, jemalloc) is
    left alone, and so is what the environment says of ``SETTINGS``.

    Returns:
        Whether the memory is kept now on that account; False on musl, macOS and Windows.
    """
    if platform.libc_ver()[0] != "glibc" or _is_settled():
        return False
    process, library = ctypes.CDLL(None), ctypes.CDLL("libc.so.6")
    if _address(process.malloc) != _address(library.malloc):
        return False
    kept = any(library.mallopt(M_MMAP_THRESHOLD, size) == 1 for size in (LARGEST_KEPT, LARGEST_OLD_ONES_KEEP))
    return kept and library.mallopt(M_TRIM_THRESHOLD, -1) == 1


def _is_settled() -> bool:
    """Whether the environment says how malloc gives memory back."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}=" in tunables for name in SETTINGS)


def _address(function: object) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
