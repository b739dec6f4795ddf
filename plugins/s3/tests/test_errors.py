"""
What each answer of a store means to the host.
"""

import json
import ssl
from datetime import timedelta

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
    ReadTimeoutError,
)
from gateway_s3.errors import classify

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    BackendError,
    Conflict,
    Disposition,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Transient,
    Unsupported,
)

ANSWERS = [
    (503, "SlowDown", RateLimited),
    (429, "TooManyRequests", RateLimited),
    (429, "429", RateLimited),
    (503, "ServiceUnavailable", Transient),
    (500, "InternalError", Transient),
    (400, "RequestTimeout", Transient),
    (409, "OperationAborted", Transient),
    (409, "ConditionalRequestConflict", Transient),
    (502, "502", Transient),
    (403, "AccessDenied", AccessDenied),
    (403, "403", AccessDenied),
    (403, "InvalidAccessKeyId", Misconfigured),
    (403, "SignatureDoesNotMatch", Misconfigured),
    (403, "AccountProblem", Misconfigured),
    (403, "RequestTimeTooSkewed", Misconfigured),
    (400, "ExpiredToken", Misconfigured),
    (400, "AuthorizationHeaderMalformed", Misconfigured),
    (301, "PermanentRedirect", Misconfigured),
    (307, "307", Misconfigured),
    (404, "NoSuchBucket", Misconfigured),
    (404, "NoSuchKey", NotFound),
    (404, "404", NotFound),
    (404, "NoSuchUpload", SessionLost),
    (412, "PreconditionFailed", Conflict),
    (412, "412", Conflict),
    (416, "InvalidRange", IntegrityMismatch),
    (400, "BadDigest", IntegrityMismatch),
    (400, "XAmzContentSHA256Mismatch", IntegrityMismatch),
    (400, "InvalidPart", IntegrityMismatch),
    (400, "InvalidPartOrder", IntegrityMismatch),
    (400, "EntityTooSmall", IntegrityMismatch),
    (400, "EntityTooLarge", QuotaExceeded),
    (403, "QuotaExceeded", QuotaExceeded),
    (507, "XMinioStorageFull", QuotaExceeded),
    (507, "507", QuotaExceeded),
    (501, "NotImplemented", Unsupported),
    (400, "SomethingNew", BackendError),
]


def answer(status: int, code: str, **headers: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "SlowDown NoSuchKey AccessDenied"},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        },
        "PutObject",
    )


@pytest.mark.parametrize(("status", "code", "meaning"), ANSWERS)
def test_the_code_decides_and_else_the_status(status: int, code: str, meaning: type[BackendError]) -> None:
    error = classify(answer(status, code))
    assert error is not None
    assert (meaning, code) == (type(error), error.provider_code)


@pytest.mark.parametrize(("status", "code", "meaning"), ANSWERS)
def test_of_a_users_bucket_the_user_has_to_mend_all_but_our_clock(
    status: int, code: str, meaning: type[BackendError]
) -> None:
    error = classify(answer(status, code), to_mend=AuthRevoked)
    is_his = meaning is Misconfigured and code != "RequestTimeTooSkewed"
    assert (AuthRevoked if is_his else meaning) is type(error)


def test_every_disposition_is_covered() -> None:
    assert set(Disposition) == {meaning.disposition for _, _, meaning in ANSWERS}


@pytest.mark.parametrize(
    ("header", "expected"),
    [("30", timedelta(seconds=30)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("", None)],
)
def test_a_store_that_names_a_time_to_wait_is_quoted(header: str, expected: timedelta | None) -> None:
    error = classify(answer(503, "SlowDown", **{"retry-after": header}))
    assert isinstance(error, RateLimited)
    assert expected == error.retry_after


@pytest.mark.parametrize(
    "exc",
    [
        EndpointConnectionError(endpoint_url="https://s3.test", error=OSError("refused")),
        ReadTimeoutError(endpoint_url="https://s3.test", error=TimeoutError()),
        ConnectionClosedError(endpoint_url="https://s3.test", error=aiohttp.ServerDisconnectedError()),
        HTTPClientError(error=RuntimeError("Session is closed")),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        aiohttp.ClientPayloadError("cut"),
        TimeoutError(),
        ConnectionResetError(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_a_broken_connection_is_transient(exc: Exception) -> None:
    assert Transient is type(classify(exc))


def test_a_certificate_that_is_not_trusted_is_for_the_operator() -> None:
    exc = HTTPClientError(error=ssl.SSLCertVerificationError("self-signed"))
    assert Misconfigured is type(classify(exc))
    assert AuthRevoked is type(classify(exc, to_mend=AuthRevoked))


def test_what_the_address_rule_said_is_passed_on() -> None:
    refused = Misconfigured("private address")
    assert refused is classify(HTTPClientError(error=refused))


def test_a_wrong_call_of_the_library_means_nothing_to_the_host() -> None:
    assert classify(ParamValidationError(report="no Key")) is None
    assert classify(json.JSONDecodeError("x", "", 0)) is None
