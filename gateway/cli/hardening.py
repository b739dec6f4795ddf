"""
Asking the operating system to keep this process' memory to itself.
"""

import ctypes
import os
import resource
import sys
from typing import Final

from gateway.settings import Hardening, passed_environment

_PR_SET_DUMPABLE: Final = 4

_SCRUBBING: Final = {
    # CPython's own allocator keeps freed memory as it is; glibc's can be told to overwrite it.
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
}


def harden(settings: Hardening) -> None:
    """
    Switch core dumps off; if asked to, start this program again under an allocator that scrubs what is freed.

    The allocator is chosen when a process starts, so there is no other way than to start anew;
    the process id stays the same. Does not return in that case.
    """
    if settings.scrub_freed_memory and sys.platform == "linux":
        environment = passed_environment()
        if any(name not in environment for name in _SCRUBBING):
            environment = {**_SCRUBBING, **environment}
            os.execve(sys.executable, [sys.executable, "-P", "-m", "gateway", *sys.argv[1:]], environment)  # noqa: S606
    if settings.no_core_dumps:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
