"""
What an error of the operating system means for a blob folder.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.api import BackendError, Misconfigured, QuotaExceeded, Transient

_MEANING: Final[dict[int, type[BackendError]]] = {
    errno.ENOSPC: QuotaExceeded,
    errno.EDQUOT: QuotaExceeded,
    # The process's or the file system's largest file: no room for *this* blob, whatever else fits.
    errno.EFBIG: QuotaExceeded,
    errno.EIO: Transient,
    errno.EAGAIN: Transient,
    errno.EINTR: Transient,
    errno.EBUSY: Transient,
    errno.ENOMEM: Transient,
    errno.EMFILE: Transient,
    errno.ENFILE: Transient,
    errno.ENOLCK: Transient,
    errno.ETIMEDOUT: Transient,
    errno.ESTALE: Transient,
    errno.EACCES: Misconfigured,
    errno.EPERM: Misconfigured,
    errno.EROFS: Misconfigured,
    errno.ENOENT: Misconfigured,
    errno.ENOTDIR: Misconfigured,
    errno.EISDIR: Misconfigured,
    errno.ELOOP: Misconfigured,
    errno.ENAMETOOLONG: Misconfigured,
    errno.EXDEV: Misconfigured,
    errno.EOPNOTSUPP: Misconfigured,
    errno.ENOSYS: Misconfigured,
}


def classifier(root: Path) -> Callable[[Exception], BackendError | None]:
    """
    Return the function that says what an exception means for the blob folder *root*.
    """

    def classify(exc: Exception) -> BackendError | None:
        if not isinstance(exc, OSError) or exc.errno is None:
            return None
        meaning = _MEANING.get(exc.errno, BackendError)
        # Names within the folder are relative to it, so that the message always says which disk is meant.
        where = root / str(exc.filename) if exc.filename is not None else root
        return meaning(f"{exc.strerror}: {where}", provider_code=errno.errorcode.get(exc.errno))

    return classify
