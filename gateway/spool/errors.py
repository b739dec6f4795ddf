"""
What can go wrong with the spool's files.

    GatewayError
    └─ SpoolError
       ├─ SpoolFull       no room; may pass
       ├─ SpoolFailed     the disk reports an error
       └─ PieceMissing    a file that the catalog counts on is not there
"""

import errno

from gateway.base.errors import GatewayError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SpoolError(GatewayError):
    code = "spool"


class SpoolFull(SpoolError):
    code = "spool-full"


class SpoolFailed(SpoolError):
    code = "spool-failed"


class PieceMissing(SpoolError):
    code = "piece-missing"


def from_os_error(error: OSError) -> SpoolError:
    """
    Return the spool's word for what the operating system said.
    """
    if error.errno in _FULL:
        return SpoolFull("the spool's disk is full")
    if error.errno == errno.ENOENT:
        return PieceMissing("a file of the spool is missing")
    return SpoolFailed(f"the spool's disk reports: {error.strerror}")
