"""
``gateway delete``: asks, erases, and says of a receipt only what it has checked.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from gateway.cli.client.connection import CommandFailed
from gateway.cli.client.erasures import check_receipt
from gateway.keyring.errors import ReceiptInvalid
from tests.cli.conftest import Shell
from tests.cli.terminals import run_at_a_terminal

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def recording_id(shell: Shell) -> str:
    (shell.folder / "call.m4a").write_bytes(b"x" * 1000)
    return shell.out("upload", "call.m4a", "--party-name", "Ada")


def is_kept(shell: Shell, recording_id: str) -> bool:
    return recording_id in [kept["id"] for kept in json.loads(shell.out("recordings", "--json"))]


def test_prints_a_receipt_that_holds_offline_and_again_the_same(shell: Shell, recording_id: str) -> None:
    done = shell.run("delete", recording_id, "--yes")
    again = shell.run("delete", recording_id, "--yes")
    document = json.loads(done.stdout)
    (shell.folder / "receipt.json").write_text(done.stdout)
    key = shell.out("receipt", "keys", "--data-dir", shell.data_dir)
    verified = shell.run("receipt", "verify", "--key", key, "receipt.json")

    assert (0, 0) == (done.returncode, again.returncode)
    assert recording_id == document["id"]
    assert document["receipt"] == json.loads(again.stdout)["receipt"]
    assert f"signed with key {document['receipt']['key_id']}" in done.stderr
    assert 0 == verified.returncode, verified.stderr
    assert not is_kept(shell, recording_id)


def test_saves_the_receipt_instead_of_printing_it(shell: Shell, recording_id: str) -> None:
    done = shell.run("delete", recording_id, "--yes", "--receipt", "receipt.json")

    assert (0, "") == (done.returncode, done.stdout)
    assert recording_id == json.loads((shell.folder / "receipt.json").read_text())["id"]


def test_saves_several_receipts_in_a_folder(shell: Shell, recording_id: str) -> None:
    (shell.folder / "other.m4a").write_bytes(b"y")
    other = shell.out("upload", "other.m4a")
    (shell.folder / "receipts").mkdir()
    done = shell.run("delete", recording_id, other, recording_id, "--yes", "--receipt", "receipts")

    assert (0, "") == (done.returncode, done.stdout)
    saved = {path.stem: json.loads(path.read_text())["id"] for path in (shell.folder / "receipts").iterdir()}
    assert {recording_id: recording_id, other: other} == saved


@pytest.mark.parametrize("target", ["call.m4a", "nowhere/receipt.json"])
def test_erases_nothing_if_the_receipt_could_not_be_saved(
    shell: Shell, recording_id: str, target: str
) -> None:
    done = shell.run("delete", recording_id, "--yes", "--receipt", target)

    assert 2 == done.returncode
    assert is_kept(shell, recording_id)


def test_erases_nothing_unasked_where_nobody_can_be_asked(shell: Shell, recording_id: str) -> None:
    done = shell.run("delete", recording_id)

    assert 2 == done.returncode
    assert "--yes" in done.stderr
    assert is_kept(shell, recording_id)


@pytest.mark.parametrize(("answer", "status", "stays"), [("n\n", 1, True), ("y\n", 0, False)])
def test_asks_at_a_terminal_and_says_what_would_be_erased(
    shell: Shell, recording_id: str, answer: str, status: int, stays: bool
) -> None:
    ended, _, screen = run_at_a_terminal(shell, "delete", recording_id, types=answer)

    assert status == ended, screen
    assert f"{recording_id} (call.m4a, " in screen
    assert ", with Ada, 1.0 kB)" in screen
    assert "Erase it for good? [y/N]" in screen
    assert stays == is_kept(shell, recording_id)


def test_what_is_not_there_does_not_keep_the_rest_from_being_erased(shell: Shell, recording_id: str) -> None:
    done = shell.run("delete", UNKNOWN, recording_id, "--yes")

    assert 1 == done.returncode
    assert f"Error: {UNKNOWN}: Not found: " in done.stderr
    assert recording_id == json.loads(done.stdout)["id"]
    assert not is_kept(shell, recording_id)


async def test_a_receipt_that_does_not_hold_is_not_called_good(shell: Shell, recording_id: str) -> None:
    """
    The receipt is handed over all the same: it may be looked into.
    """
    async with lying_about_its_keys(shell) as url:
        done = await asyncio.to_thread(shell.run, "delete", recording_id, "--yes", GATEWAY_URL=url)

    assert 1 == done.returncode
    assert "the receipt does not hold" in done.stderr
    assert recording_id == json.loads(done.stdout)["id"]


def test_checks_that_the_receipt_is_about_the_recording(shell: Shell, recording_id: str) -> None:
    document = json.loads(shell.out("delete", recording_id, "--yes"))
    keys = [shell.out("receipt", "keys", "--data-dir", shell.data_dir)]
    check_receipt(document, keys)

    with pytest.raises(ReceiptInvalid):
        check_receipt({**document, "id": UNKNOWN}, keys)
    with pytest.raises(ReceiptInvalid):
        check_receipt({**document, "salt": "00" * 32}, keys)
    with pytest.raises(ReceiptInvalid):
        check_receipt({**document, "receipt": {**document["receipt"], "sequence": 99}}, keys)
    with pytest.raises(CommandFailed):
        check_receipt({**document, "salt": None}, keys)


@asynccontextmanager
async def lying_about_its_keys(shell: Shell) -> AsyncIterator[str]:
    """
    Stand before the gateway and publish another key than the one it signs with.
    """

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v1/receipt-keys":
            return web.json_response({"keys": ["A" * 43]})
        async with (
            aiohttp.ClientSession(shell.url, headers=shell.auth) as session,
            session.request(request.method, request.path) as response,
        ):
            return web.json_response(await response.json(), status=response.status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
