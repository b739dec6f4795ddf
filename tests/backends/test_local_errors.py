import errno
from pathlib import Path

import pytest

from gateway.api import BackendError, Misconfigured, QuotaExceeded, Transient
from gateway.backends.local.errors import classifier

ROOT = Path("/disk/blobs")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, QuotaExceeded),
        (errno.EDQUOT, QuotaExceeded),
        (errno.EFBIG, QuotaExceeded),
        (errno.EIO, Transient),
        (errno.EMFILE, Transient),
        (errno.ESTALE, Transient),
        (errno.EACCES, Misconfigured),
        (errno.EPERM, Misconfigured),
        (errno.EROFS, Misconfigured),
        (errno.ENOENT, Misconfigured),
        (errno.ENOTDIR, Misconfigured),
        (errno.EPROTO, BackendError),
    ],
)
def test_an_errno_means_a_decision(code: int, expected: type[BackendError]) -> None:
    meant = classifier(ROOT)(OSError(code, "in any language"))
    assert expected is type(meant)
    assert meant is not None
    assert errno.errorcode[code] == meant.provider_code


def test_the_message_names_the_file_that_it_is_about() -> None:
    assert "no: /disk/blobs/ab/cd" == str(classifier(ROOT)(OSError(errno.EIO, "no", "ab/cd")))
    assert "no: /spool/sealed" == str(classifier(ROOT)(OSError(errno.EIO, "no", "/spool/sealed")))
    assert "no: /disk/blobs" == str(classifier(ROOT)(OSError(errno.EIO, "no")))


def test_what_is_no_error_of_the_system_is_not_judged() -> None:
    assert classifier(ROOT)(ValueError("no")) is None
    assert classifier(ROOT)(OSError("no number")) is None
