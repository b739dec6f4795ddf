"""
What each answer of Graph's, of the sign-in and of the way there means to the host.
"""

import json
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

import aiohttp
import pytest
from gateway_onedrive.errors import classify, refusal, token_failure, token_refusal

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
from gateway.testing.errors import ErrorTable, Row

Answer = tuple[int, Mapping[str, str], bytes]


def answer(status: int, *codes: str, key: str = "innerError", wait: str | None = None) -> Answer:
    """
    An error as Graph words it, with *codes* from the outermost in.
    """
    error: dict[str, Any] = {}
    for code in reversed(codes):
        details = {"date": "2026-08-04T10:21:25", "request-id": "5e8c", "client-request-id": "5e8c"}
        inner = {key: error} if error else {}
        error = {"code": code, "message": "accessDenied activityLimitReached itemNotFound"} | inner | details
    headers = {} if wait is None else {"Retry-After": wait}
    return status, headers, json.dumps({"error": error}).encode() if codes else b""


class TestGraph(ErrorTable):
    rows: ClassVar = [
        Row(answer(429, "activityLimitReached", "throttledRequest", "quota", wait="41"), RateLimited, code="throttledRequest", retry_after=timedelta(seconds=41)),
        Row(answer(429, "TooManyRequests", wait="0"), RateLimited, retry_after=timedelta(0)),
        Row(answer(429), RateLimited, code="429"),
        Row(answer(429, "somethingNew", key="innererror"), RateLimited, code="somethingNew"),
        Row(answer(400, "invalidRequest", "throttledRequest", key="innererror"), RateLimited, code="throttledRequest"),
        Row(answer(503, "serviceNotAvailable", wait="315"), RateLimited, retry_after=timedelta(seconds=315)),
        Row(answer(503, "serviceNotAvailable"), Transient, code="serviceNotAvailable"),
        Row(answer(503, wait="Wed, 21 Oct 2026 07:28:00 GMT"), Transient),
        Row(answer(509, "bandwidthLimitExceeded"), RateLimited),
        Row(answer(500, "generalException"), Transient, code="generalException"),
        Row(answer(502), Transient, code="502"),
        Row(answer(504, "UnknownError"), Transient),
        Row(answer(423, "resourceLocked"), Transient),
        Row(answer(403, "serviceReadOnly"), Transient),
        Row(answer(401, "InvalidAuthenticationToken"), AuthRevoked),
        Row(answer(401, "unauthenticated"), AuthRevoked),
        Row(answer(403, "accessDenied"), AccessDenied, code="accessDenied"),
        Row(answer(403, "Authorization_RequestDenied"), AccessDenied),
        Row(answer(507, "quotaLimitReached", "insufficientStorage"), QuotaExceeded, code="insufficientStorage"),
        Row(answer(507), QuotaExceeded),
        Row(answer(413, "maxFileSizeExceeded"), QuotaExceeded),
        Row(answer(404, "itemNotFound"), NotFound),
        Row(answer(404, "itemNotFound", "somethingNew"), NotFound, code="itemNotFound"),
        Row(answer(410), NotFound),
        Row(answer(409, "nameAlreadyExists"), Conflict),
        Row(answer(412, "resourceModified"), Conflict),
        Row(answer(416, "invalidRange", "fragmentOverlap"), IntegrityMismatch, code="invalidRange"),
        Row(answer(400, "notSupported"), Unsupported),
        Row(answer(405), Unsupported),
        Row(answer(501), Unsupported),
        Row(answer(400, "invalidRequest"), BackendError, code="invalidRequest"),
        Row(answer(400, "malwareDetected"), BackendError),
        Row((502, {}, b"<html>Bad Gateway</html>"), Transient, code="502"),
        Row((403, {}, b'{"error": "odd"}'), AccessDenied, code="403"),
    ]  # fmt: skip

    @staticmethod
    def classify(payload: Answer) -> BackendError | None:
        return refusal(*payload)


class TestSignIn(ErrorTable):
    rows: ClassVar = [
        Row({"error": "invalid_grant", "error_codes": [70000]}, AuthRevoked, code="AADSTS70000"),
        Row({"error": "invalid_grant", "error_codes": [700082], "suberror": "token_expired"}, AuthRevoked),
        Row({"error": "interaction_required", "error_codes": [50076]}, AuthRevoked),
        Row({"error": "consent_required", "error_codes": [65001]}, AuthRevoked),
        Row({"error": "invalid_client", "error_codes": [7000215]}, Misconfigured, code="AADSTS7000215"),
        Row({"error": "unauthorized_client", "error_codes": [700016]}, Misconfigured),
        Row({"error": "invalid_scope", "error_codes": [70011]}, Misconfigured),
        Row({"error": "temporarily_unavailable"}, Transient, code="temporarily_unavailable"),
        Row({"error": "invalid_grant", "error_codes": "70000"}, AuthRevoked, code="invalid_grant"),
        Row({"error": "something_new", "error_description": "AADSTS70000: invalid_grant"}, BackendError),
    ]

    @staticmethod
    def classify(payload: dict[str, Any]) -> BackendError | None:
        return token_refusal(payload)


class TestTheWay:
    @pytest.mark.parametrize(
        "exc",
        [
            aiohttp.ServerDisconnectedError(),
            aiohttp.ClientPayloadError("cut"),
            TimeoutError(),
            ConnectionResetError(),
        ],
        ids=lambda exc: type(exc).__name__,
    )
    def test_a_broken_connection_is_transient(self, exc: Exception) -> None:
        assert Transient is type(classify(exc))

    def test_a_certificate_that_is_not_trusted_is_for_the_operator(self) -> None:
        assert Misconfigured is type(classify(ssl.SSLCertVerificationError("self-signed")))

    def test_another_exception_is_not_known(self) -> None:
        assert classify(KeyError("id")) is None

    def test_no_url_of_an_exception_is_told(self) -> None:
        told = classify(aiohttp.NonHttpUrlClientError("ftp://host/up?tempauth=secret"))
        assert "secret" not in str(told)

    def test_the_prose_of_the_other_host_is_not_told(self) -> None:
        status, headers, body = answer(507, "quotaLimitReached")
        assert "activityLimitReached" not in str(refusal(status, headers, body, quote=False))


@pytest.mark.parametrize(
    ("status", "wait", "meaning"),
    [
        (429, "7", RateLimited),
        (429, "", RateLimited),
        (503, "7", RateLimited),
        (503, "", Transient),
        (408, "", Transient),
    ],
)
def test_the_sign_in_is_busy(status: int, wait: str, meaning: type[BackendError]) -> None:
    assert meaning is type(token_failure(status, {"Retry-After": wait}))


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_the_sign_in_says_itself_what_it_means(status: int) -> None:
    assert token_failure(status, {}) is None
