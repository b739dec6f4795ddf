"""
What an error of Google Drive, or of the way to it, means.

Drive's 403 has a dozen meanings, so the reason decides, and the status only where there is none that is known.
No message holds a URL: that of an upload is itself the permission to write.
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp
import httplib2
from googleapiclient.errors import HttpError

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

_BY_REASON: Final[dict[str, type[BackendError]]] = {
    "userRateLimitExceeded": RateLimited,
    "rateLimitExceeded": RateLimited,
    "sharingRateLimitExceeded": RateLimited,
    "RATE_LIMIT_EXCEEDED": RateLimited,
    "dailyLimitExceeded": RateLimited,
    "quotaExceeded": RateLimited,
    "downloadQuotaExceeded": RateLimited,
    "uploadLimitExceeded": RateLimited,
    "backendError": Transient,
    "internalError": Transient,
    "transientError": Transient,
    "authError": AuthRevoked,
    "insufficientPermissions": AccessDenied,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": AccessDenied,
    "appNotAuthorizedToFile": AccessDenied,
    "insufficientFilePermissions": AccessDenied,
    "insufficientParentPermissions": AccessDenied,
    "domainPolicy": AccessDenied,
    "cannotDownloadAbusiveFile": AccessDenied,
    "accessNotConfigured": Misconfigured,
    "SERVICE_DISABLED": Misconfigured,
    "storageQuotaExceeded": QuotaExceeded,
    "teamDriveFileLimitExceeded": QuotaExceeded,
    "numChildrenInNonRootLimitExceeded": QuotaExceeded,
    "activeItemCreationLimitExceeded": QuotaExceeded,
    # No room for *this* blob, whatever else fits.
    "uploadTooLarge": QuotaExceeded,
    "fileIdInUse": Conflict,
    "notFound": NotFound,
    "requestedRangeNotSatisfiable": IntegrityMismatch,
}

_BY_STATUS: Final[dict[int, type[BackendError]]] = {
    301: Misconfigured,
    302: Misconfigured,
    307: Misconfigured,
    401: AuthRevoked,
    403: AccessDenied,
    404: NotFound,
    405: Unsupported,
    408: Transient,
    409: Conflict,
    413: QuotaExceeded,
    416: IntegrityMismatch,
    429: RateLimited,
    501: Unsupported,
}

_FOR_HOURS: Final = frozenset(
    {"dailyLimitExceeded", "quotaExceeded", "downloadQuotaExceeded", "uploadLimitExceeded"}
)
"""Limits of a day; it does no good to ask again soon."""

_HOURS: Final = timedelta(hours=1)


def classify(exc: Exception) -> BackendError | None:
    """
    Say what an exception means that came out of a call to Drive, or None if that is not known.
    """
    if isinstance(exc, HttpError):
        return of_answer(exc.resp.status, exc.content, exc.resp)
    name = type(exc).__name__
    if isinstance(exc, (ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError)):
        return Misconfigured("Google Drive's certificate is not trusted.", provider_code=name)
    if isinstance(exc, (OSError, http.client.HTTPException, httplib2.HttpLib2Error, aiohttp.ClientError)):
        return Transient(f"The connection to Google Drive failed: {name}.", provider_code=name)
    return None


def classify_in_session(exc: Exception) -> BackendError | None:
    """
    Say what an exception means that came out of a call on an upload's own URL.
    """
    if isinstance(exc, HttpError) and exc.resp.status in {404, 410}:
        return SessionLost(
            "Google Drive does not know the upload any more.", provider_code=str(exc.resp.status)
        )
    return classify(exc)


def of_answer(status: int, body: bytes, headers: Mapping[str, str]) -> BackendError:
    """
    Say what an answer that is an error means.
    """
    reasons, message = _told(body)
    reason = next((reason for reason in reasons if reason in _BY_REASON), None)
    meaning = _BY_STATUS.get(status) if reason is None else _BY_REASON[reason]
    if meaning is None:
        meaning = Transient if status >= 500 else BackendError
    code = reason or next(iter(reasons), str(status))
    text = f"Google Drive answered {status} {code}: {message or 'no more was said'}"
    if issubclass(meaning, RateLimited):
        wait = _HOURS if reason in _FOR_HOURS else _retry_after(headers)
        return meaning(text, retry_after=wait, provider_code=code)
    return meaning(text, provider_code=code)


def _told(body: bytes) -> tuple[list[str], str]:
    """
    Return the reasons that an error's body gives, the older way of saying them first, and its message.
    """
    try:
        error = json.loads(body)["error"]
        entries = [*error.get("errors", ()), *error.get("details", ())]
        return [str(entry["reason"]) for entry in entries if "reason" in entry], str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], ""


def _retry_after(headers: Mapping[str, Any]) -> timedelta | None:
    text = str(headers.get("retry-after", ""))
    # The other form is a date, by a clock that is not ours.
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else None
