"""Memory that a training step gives back and takes again, kept in the process."""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
LARGEST_KEPT = 1 << 30
"""Allocations up to 1 GiB come from the heap; glibc's own limit is 32 MiB."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next step instead of returning it to the system.

    A training step, or a pass of evaluation, frees and takes the same large blocks again and again. glibc maps each
    anew, and the kernel clears every page at its first touch: on two cores that took more time than the arithmetic of a
    small model's head.

    Returns:
        Whether it was done: only glibc has `mallopt` (man 3 mallopt).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
