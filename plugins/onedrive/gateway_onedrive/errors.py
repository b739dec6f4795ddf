"""
What an error of Graph, or of the way to it, means.

The token endpoint speaks another language, which `gateway_onedrive.oauth` reads with `token_refusal`.
"""

import json
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp

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
    Transient,
    Unsupported,
)

_BY_CODE: Final[dict[str, type[BackendError]]] = {
    "activityLimitReached": RateLimited,
    "throttledRequest": RateLimited,
    "TooManyRequests": RateLimited,
    "tooManyRequests": RateLimited,
    "generalException": Transient,
    "serviceReadOnly": Transient,
    "resourceLocked": Transient,
    "InvalidAuthenticationToken": AuthRevoked,
    "unauthenticated": AuthRevoked,
    "accessDenied": AccessDenied,
    "quotaLimitReached": QuotaExceeded,
    "insufficientStorage": QuotaExceeded,
    # No room for *this* blob, whatever else fits.
    "maxFileSizeExceeded": QuotaExceeded,
    "itemNotFound": NotFound,
    "nameAlreadyExists": Conflict,
    "resourceModified": Conflict,
    "invalidRange": IntegrityMismatch,
    "notSupported": Unsupported,
    # A provider's scanner may be wrong about sealed bytes; nothing mends that.
    "malwareDetected": BackendError,
}

# For answers without a body of Graph's, and for codes that are not in its manual.
_BY_STATUS: Final[dict[int, type[BackendError]]] = {
    401: AuthRevoked,
    403: AccessDenied,
    404: NotFound,
    405: Unsupported,
    408: Transient,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    413: QuotaExceeded,
    416: IntegrityMismatch,
    423: Transient,
    429: RateLimited,
    501: Unsupported,
    507: QuotaExceeded,
    509: RateLimited,
}

_BY_TOKEN_ERROR: Final[dict[str, type[BackendError]]] = {
    "invalid_grant": AuthRevoked,
    "interaction_required": AuthRevoked,
    "consent_required": AuthRevoked,
    "login_required": AuthRevoked,
    "access_denied": AuthRevoked,
    "invalid_client": Misconfigured,
    "unauthorized_client": Misconfigured,
    "invalid_request": Misconfigured,
    "invalid_scope": Misconfigured,
    "invalid_resource": Misconfigured,
    "unsupported_grant_type": Misconfigured,
    "temporarily_unavailable": Transient,
    "server_error": Transient,
}


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, quote: bool = True) -> BackendError:
    """
    Say what an answer of Graph's means that is not a success.

    Without *quote* its prose is left out: what answers by a URL that is a permission might repeat it.
    """
    error = _error(body)
    codes = list(_codes(error))
    # From the innermost, which says most, outwards to one that we know.
    code = next((code for code in reversed(codes) if code in _BY_CODE), codes[0] if codes else None)
    meaning = _BY_CODE.get(code or "") or _BY_STATUS.get(status) or BackendError
    wait = _retry_after(headers)
    if status >= 500 and meaning is BackendError:
        # Told when to come back is told to slow down, whatever the status.
        meaning = Transient if wait is None else RateLimited
    message = f"OneDrive answered {status} {code or 'without a code'}"
    if quote and isinstance(error.get("message"), str):
        message += f": {error['message'][:500]}"
    if issubclass(meaning, RateLimited):
        return meaning(message, retry_after=wait, provider_code=code or str(status))
    return meaning(message, provider_code=code or str(status))


def classify(exc: Exception) -> BackendError | None:
    """
    Say what an exception means that came out of a call over HTTP, or None if that is not known.
    """
    if isinstance(exc, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return Misconfigured("The certificate of OneDrive is not trusted.", provider_code=type(exc).__name__)
    if isinstance(exc, (aiohttp.ClientError, TimeoutError, OSError)):
        # Its text may hold a URL.
        name = type(exc).__name__
        return Transient(f"The connection to OneDrive failed: {name}.", provider_code=name)
    return None


def token_refusal(answer: Mapping[str, Any]) -> BackendError:
    """
    Say what an error of the token endpoint means, by its code of RFC 6749; Microsoft's numbers are for the logs.
    """
    error = str(answer.get("error"))
    numbers = answer.get("error_codes")
    told = [number for number in numbers if isinstance(number, int)] if isinstance(numbers, list) else []
    code = f"AADSTS{told[0]}" if told else error
    meaning = _BY_TOKEN_ERROR.get(error, BackendError)
    return meaning(f"Microsoft refuses a token: {error} ({code}).", provider_code=code)


def token_failure(status: int, headers: Mapping[str, str]) -> BackendError | None:
    """
    Say what a status of the token endpoint means that is no answer in OAuth's words, or None if it may be one.
    """
    wait = _retry_after(headers)
    if status == 429 or (status >= 500 and wait is not None):
        return RateLimited(
            f"Microsoft's sign-in answered {status}.", retry_after=wait, provider_code=str(status)
        )
    if status >= 500 or status == 408:
        return Transient(f"Microsoft's sign-in answered {status}.", provider_code=str(status))
    return None


def _error(body: bytes) -> dict[str, Any]:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _codes(error: dict[str, Any]) -> Iterator[str]:
    while error:
        if isinstance(error.get("code"), str):
            yield error["code"]
        # In the manual it is spelt one way, in answers often the other.
        inner = error.get("innerError", error.get("innererror"))
        error = inner if isinstance(inner, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    text = headers.get("Retry-After", "")
    # The other form is a date, by a clock that is not ours.
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else None
