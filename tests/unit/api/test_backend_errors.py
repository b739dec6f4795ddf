import asyncio
import inspect
from collections.abc import Iterator
from datetime import timedelta

import pytest

from gateway import api
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
    errors,
    translated,
)
from gateway.base.errors import GatewayError

DISPOSITIONS = {
    BackendError: Disposition.FAIL,
    Transient: Disposition.RETRY,
    RateLimited: Disposition.RETRY,
    SessionLost: Disposition.RETRY,
    AuthRevoked: Disposition.PARK,
    AccessDenied: Disposition.PARK,
    QuotaExceeded: Disposition.PARK,
    NotFound: Disposition.FAIL,
    Conflict: Disposition.FAIL,
    IntegrityMismatch: Disposition.FAIL,
    Misconfigured: Disposition.FAIL,
    Unsupported: Disposition.FAIL,
}


def branches(of: type[BackendError]) -> Iterator[type[BackendError]]:
    yield of
    for below in of.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from branches(below)


def test_each_error_leads_to_its_decision() -> None:
    assert {error: error.disposition for error in branches(BackendError)} == DISPOSITIONS


def test_each_error_has_a_code_of_its_own_and_is_offered_to_plugins() -> None:
    assert len(DISPOSITIONS) == len({error.code for error in DISPOSITIONS})
    assert GatewayError.code not in {error.code for error in DISPOSITIONS}
    assert {error.__name__ for error in DISPOSITIONS} <= set(api.__all__)


def test_the_drawing_of_the_tree_is_the_tree() -> None:
    drawn = [line for line in (inspect.getdoc(errors) or "").splitlines() if line.startswith("    ")]
    told = {}
    for line in drawn:
        name, disposition = line.strip("│├└─ ").split()[:2]
        told[name] = disposition
    assert {error.__name__: kind.name for error, kind in DISPOSITIONS.items()} == told


def test_an_error_keeps_what_the_provider_said() -> None:
    error = RateLimited("slower", retry_after=timedelta(seconds=3), provider_code="429")
    assert ("slower", timedelta(seconds=3), "429") == (str(error), error.retry_after, error.provider_code)


def test_what_a_library_raises_is_translated_with_its_cause() -> None:
    original = KeyError("blob")
    with pytest.raises(NotFound) as caught, translated(lambda exc: NotFound(f"no {exc.args[0]}")):
        raise original
    assert "no blob" == str(caught.value)
    assert original is caught.value.__cause__


def test_what_nobody_can_classify_is_a_plain_backend_error() -> None:
    with pytest.raises(BackendError, match="KeyError: 'blob'") as caught, translated(lambda _: None):
        raise KeyError("blob")
    assert BackendError is type(caught.value)


@pytest.mark.parametrize("passing", [Conflict("taken"), asyncio.CancelledError(), KeyboardInterrupt()])
def test_what_is_translated_already_and_what_is_no_error_pass_through(passing: BaseException) -> None:
    with pytest.raises(type(passing)) as caught, translated(lambda _: NotFound("no")):
        raise passing
    assert passing is caught.value
