"""
What probes and monitoring ask.
"""

import sys

import pytest
import structlog

from gateway.base.ids import Epoch
from gateway.cli.logs import configure_logs
from gateway.keyring.errors import RootMissing
from gateway.settings import Log
from tests.http.phone import Phone, speech
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_gateway_that_works_is_alive_and_ready(either: Phone) -> None:
    either.auth = {}

    assert (200, "alive") == ((alive := await either.ask("GET", "/healthz")).status, alive.document["status"])
    assert (200, "ready") == ((ready := await either.ask("GET", "/readyz")).status, ready.document["status"])


async def test_without_its_keys_or_its_catalog_it_is_alive_and_not_ready(
    phone: Phone, shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*arguments: object) -> list[bytes]:
        raise RootMissing(Epoch(7), "the root store")

    monkeypatch.setattr(shared.gateway.context.keyring, "public_keys", failing)
    monkeypatch.setattr("gateway.http.health.get_user", failing)

    ready = await phone.ask("GET", "/readyz")

    assert (503, "not ready") == (ready.status, ready.document["status"])
    assert ["the catalog does not answer", "the root store has no root key of epoch 7"] == ready.document[
        "problems"
    ]
    assert 200 == (await phone.ask("GET", "/healthz")).status


async def test_metrics_count_requests_bytes_erasures_and_jobs(either: Phone) -> None:
    recording = await either.record(speech(1000))
    await either.erase(recording)

    answer = await either.ask("GET", "/metrics")

    text = answer.body.decode()
    assert 200 == answer.status
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'gateway_requests_total{method="POST",route="/v1/uploads",status="201"}' in text
    assert 'gateway_jobs{kind="place",state="ready"}' in text
    assert "gateway_received_bytes_total" in text
    assert "gateway_erasures_total" in text
    assert recording not in text


async def test_an_erasure_that_is_asked_for_again_is_counted_once(phone: Phone) -> None:
    counter = phone.served.gateway.context.metrics.erasures
    recording, other = await phone.record(b"x"), await phone.record(b"x")
    before = counter._value.get()

    for _ in range(3):
        await phone.erase(recording)
    await phone.terminate(other)

    assert 2 == counter._value.get() - before


async def test_routes_in_metrics_are_patterns(phone: Phone) -> None:
    for number in range(3):
        await phone.ask("GET", f"/v1/recordings/{number}")
        await phone.ask("GET", f"/nowhere/{number}")

    text = (await phone.ask("GET", "/metrics")).body.decode()

    assert 'route="/v1/recordings/{id}"' in text
    assert "/nowhere" not in text


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_tracebacks_in_logs_show_no_values(
    log_format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A token, a name or a key may be among the local variables of any frame.
    """
    monkeypatch.setattr("logging.basicConfig", lambda **options: None)
    before = structlog.get_config()
    try:
        configure_logs(Log(format="json" if log_format == "json" else "console"))
        fail_with("a very secret token")
    finally:
        structlog.reset_defaults()
        structlog.configure(**before)
        sys.stderr.flush()

    printed = capsys.readouterr().err
    assert "something.failed" in printed
    assert "ZeroDivisionError" in printed
    assert "a very secret token" not in printed


def fail_with(token: str) -> None:
    log = structlog.get_logger()
    try:
        len(token) / 0
    except ZeroDivisionError as error:
        log.error("something.failed", exc_info=error)
