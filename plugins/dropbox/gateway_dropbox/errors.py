"""
What an error of Dropbox, or of the way to it, means.

Messages are put together here, out of a status and the tags of the answer.
What Dropbox or its library say in words is left out: both quote arguments, and the id of an upload is one.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import requests
from dropbox.exceptions import ApiError, AuthError, HttpError, RateLimitError
from stone.backends.python_rsrc.stone_base import Struct, Union
from stone.backends.python_rsrc.stone_validators import ValidationError

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    BackendError,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Transient,
    Unsupported,
)

_BY_TAG: Final[dict[str, type[BackendError]]] = {
    "too_many_requests": RateLimited,
    "too_many_write_operations": RateLimited,
    "locked": Transient,
    # The listing has to be begun anew.
    "reset": Transient,
    "expired_access_token": AuthRevoked,
    "invalid_access_token": AuthRevoked,
    "invalid_select_user": AuthRevoked,
    "invalid_select_admin": AuthRevoked,
    "user_suspended": AuthRevoked,
    "missing_scope": AccessDenied,
    "route_access_denied": AccessDenied,
    "no_write_permission": AccessDenied,
    "access_restricted": AccessDenied,
    "operation_suppressed": AccessDenied,
    "restricted_content": AccessDenied,
    "encryption_not_supported": AccessDenied,
    "insufficient_space": QuotaExceeded,
    "member_folder_insufficient_space": QuotaExceeded,
    "team_folder_insufficient_space": QuotaExceeded,
    "upload_traffic_limit_reached": QuotaExceeded,
    "too_large": QuotaExceeded,
    "not_found": NotFound,
    # A folder lies where the blob should.
    "not_file": NotFound,
    "conflict": Conflict,
    "content_hash_mismatch": IntegrityMismatch,
    "malformed_path": Unsupported,
    "disallowed_name": Unsupported,
    "not_folder": Unsupported,
    "payload_too_large": Unsupported,
}

# Of an upload that goes on over several requests; the same words mean something else elsewhere.
_OF_A_SESSION: Final[dict[str, type[BackendError]]] = {
    "not_found": SessionLost,
    # Committed, or given up.
    "closed": SessionLost,
    "not_closed": SessionLost,
    # Another request got through whose answer was lost.
    "incorrect_offset": Transient,
}

_BY_STATUS: Final[dict[int, type[BackendError]]] = {
    401: AuthRevoked,
    403: AccessDenied,
    # All routes are posts to fixed addresses: what is not there is not Dropbox.
    404: Misconfigured,
    405: Misconfigured,
    408: Transient,
    416: IntegrityMismatch,
    429: RateLimited,
}


def classify(exc: Exception) -> BackendError:
    """
    Say what an exception means that came out of a call of Dropbox's library.
    """
    if isinstance(exc, BackendError):
        return exc
    if isinstance(exc, ApiError):
        return of_answer(409, tags_of(exc.error))
    if isinstance(exc, RateLimitError):
        tags = () if exc.error is None else tags_of(exc.error.reason)
        return of_answer(429, tags, retry_after_s=exc.backoff)
    if isinstance(exc, AuthError):
        return of_answer(401, tags_of(exc.error))
    if isinstance(exc, HttpError):
        return of_answer(int(exc.status_code), ())
    name = type(exc).__name__
    if isinstance(exc, requests.exceptions.SSLError):
        return Misconfigured("Dropbox's certificate is not trusted.", provider_code=name)
    if isinstance(exc, (requests.exceptions.RequestException, OSError)):
        return Transient(f"The connection to Dropbox failed: {name}.", provider_code=name)
    # What the library's own checks raise when an answer is not of the form that it knows.
    if isinstance(exc, (AssertionError, AttributeError, LookupError, TypeError, ValueError, ValidationError)):
        return Transient(f"Dropbox's answer cannot be understood: {name}.", provider_code=name)
    return BackendError(f"Dropbox's library failed: {name}.", provider_code=name)


def of_answer(status: int, tags: Sequence[str], *, retry_after_s: float | None = None) -> BackendError:
    """
    Say what an answer means, by its status and the tags that lead from its error to the reason.
    """
    code = "/".join(tags) or str(status)
    meaning = _meaning(status, tags)
    message = f"Dropbox answered {status} ({code})."
    if issubclass(meaning, RateLimited):
        waits = None if retry_after_s is None else timedelta(seconds=retry_after_s)
        return meaning(message, retry_after=waits, provider_code=code)
    return meaning(message, provider_code=code)


def tags_of(error: Any) -> tuple[str, ...]:
    """
    Return the tags from *error*, a union of the library's or one as JSON, down to the reason in its midst.
    """
    if isinstance(error, str):
        return (error,)
    if isinstance(error, Union):
        value = error._value  # noqa: SLF001 - a union has one method for each tag and none for whichever there is
        return (error._tag, *tags_of(value if isinstance(value, (Union, Struct)) else None))  # noqa: SLF001
    if isinstance(error, Struct):
        return tags_of(getattr(error, "reason", None) or getattr(error, "required_scope", None))
    if isinstance(error, Mapping):
        tag = str(error.get(".tag", ""))
        return (tag, *tags_of(error.get(tag) or error.get("reason") or error.get("required_scope")))
    return ()


def _meaning(status: int, tags: Sequence[str]) -> type[BackendError]:
    if tags and (len(tags) == 1 or tags[0] == "lookup_failed") and tags[-1] in _OF_A_SESSION:
        return _OF_A_SESSION[tags[-1]]
    for tag in reversed(tags):
        if tag in _BY_TAG:
            return _BY_TAG[tag]
    if status < 400:
        # A redirect: whoever answers there is not Dropbox.
        return Misconfigured
    return _BY_STATUS.get(status) or (Transient if status >= 500 else BackendError)
