"""
How a plugin classifies errors, as a table of what the provider said and what that means to the host.

    from gateway.testing.errors import ErrorTable, Row
    from gateway_tape.errors import classify

    class TestErrors(ErrorTable):
        classify = staticmethod(classify)
        rows = [
            Row(answer(503, "DriveBusy"), RateLimited),
            Row(answer(507, "TapeFull"), QuotaExceeded, code="TapeFull"),
            Row(answer(404, "NoSuchFile"), NotFound),
            Row(ValueError("a bug"), None),
        ]
        secrets = ["the key that the recorded answers hold"]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from gateway.api import BackendError, Disposition, RateLimited


@dataclass(frozen=True, slots=True)
class Row:
    """
    One recorded answer, or exception of the provider's library, and what it means.
    """

    payload: Any
    """What the plugin's classifier takes."""

    means: type[BackendError] | None
    """Exactly this class; None: the classifier is to say that it does not know."""

    code: str | None = None
    """The `BackendError.provider_code` that must come with it; None: any."""

    retry_after: timedelta | None = None
    """The `RateLimited.retry_after` that must come with it."""


class ErrorTable:
    """
    The tests of a table; a subclass gives ``rows`` and ``classify``.
    """

    rows: ClassVar[Sequence[Row]] = ()

    classify: Callable[[Any], BackendError | None]
    """The plugin's own function, as a static method."""

    secrets: ClassVar[Sequence[str]] = ()
    """What no message may hold: the tokens, keys and URLs that the payloads were recorded with."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """
        Have each row be a test of its own.
        """
        if "row" in metafunc.fixturenames:
            names = [
                f"{number}-{row.means.__name__ if row.means else None}"
                for number, row in enumerate(self.rows)
            ]
            metafunc.parametrize("row", self.rows, ids=names)

    def test_an_answer_means_what_the_table_says(self, row: Row) -> None:
        error = self.classify(row.payload)
        assert row.means is (None if error is None else type(error)), error

    def test_the_providers_code_is_kept(self, row: Row) -> None:
        error = self.classify(row.payload)
        assert row.code is None or (error is not None and row.code == error.provider_code)

    def test_a_time_to_wait_is_kept(self, row: Row) -> None:
        error = self.classify(row.payload)
        assert row.retry_after == (error.retry_after if isinstance(error, RateLimited) else None)

    def test_every_disposition_occurs(self) -> None:
        assert set(Disposition) == {row.means.disposition for row in self.rows if row.means is not None}

    def test_no_message_holds_a_secret(self, row: Row) -> None:
        error = self.classify(row.payload)
        told = f"{error} {error!r} {error.provider_code if error else ''}"
        assert [number for number, secret in enumerate(self.secrets) if secret in told] == []
