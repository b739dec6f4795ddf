"""
System calls of a running daemon that fail, as on a full or a dying disk: refused clearly, and nothing promised is lost.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import pytest

from gateway.spool.files import SLAB
from tests.crash.conftest import Installation
from tests.crash.phones import (
    TUS,
    Account,
    Answer,
    Body,
    Call,
    Network,
    Phone,
    check_gone,
    check_live,
    jobs_done,
)
from tests.crash.tracing import sabotaging
from tests.support.forked_daemon import ForkedDaemon, forked_daemon
from tests.support.pieces import whole_chunks

SETTINGS: Final = {
    "GATEWAY_DATA__POOL_SIZE": "1",
    "GATEWAY_SPOOL__THREADS": "1",
    # What a test broke stays broken until the test looks.
    "GATEWAY_JOBS__BACKOFF_BASE_MS": "3000",
}


class House:
    """
    A daemon, and a phone that uses it.
    """

    def __init__(self, daemon: ForkedDaemon, account: Account, network: Network) -> None:
        self.daemon = daemon
        self.account = account
        self.network = network
        self.phone = Phone(account, network, Random(3), name="phone")

    def path(self, name: str) -> Path:
        return self.daemon.data_dir / name

    def piece(self, call: Call, fence: int) -> Path:
        return self.path(f"spool/{call.id}.{fence}")

    async def patch(self, call: Call, body: bytes) -> Answer:
        """
        Send one append, its body once it is asked for, and leave the conclusions to the test.
        """
        headers = {
            **self.account.auth,
            **TUS,
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(len(call.content)),
            "Content-Length": str(len(body)),
            "Expect": "100-continue",
        }
        answer = await self.network.request("PATCH", f"/v1/uploads/{call.id}", headers, body=Body(body))
        assert answer is not None
        return answer

    async def offset(self, call: Call) -> int:
        answer = await self.network.answered("HEAD", f"/v1/uploads/{call.id}", {**self.account.auth, **TUS})
        assert answer.status == 200, answer
        return int(answer.headers["Upload-Offset"])

    async def goes_on(self, call: Call) -> None:
        """
        Bring the upload to its end, with other bytes than those that were refused.
        """
        while call.state == "open":
            await self.phone.append(call, call.length - len(call.content))
        await check_live(call, self.account, self.network)
        await jobs_done(self.network)
        await check_live(call, self.account, self.network)
        assert [] == list(self.path("spool").iterdir())


@pytest.fixture
async def house(installation: Installation, tmp_path: Path) -> AsyncIterator[House]:
    account = installation.copy_to(tmp_path / "data")
    async with (
        forked_daemon(tmp_path / "data", settings=SETTINGS) as daemon,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        network = Network(http)
        network.went_up(daemon.url)
        yield House(daemon, account, network)


def code(answer: Answer) -> tuple[int, Any]:
    return answer.status, answer.json()["code"]


async def test_what_a_failed_fsync_may_have_lost_does_not_count(house: House) -> None:
    """
    The kernel reports a lost page once; the next fsync of the same file succeeds without it.
    """
    call = await house.phone.begin(400_000, first=50_000)
    async with sabotaging(house.daemon.pid, "fsync:error=EIO:when=1", paths=[house.piece(call, 2)]):
        answer = await house.patch(call, bytes(300_000))
    assert (503, "spool-failed") == code(answer)
    assert 50_000 == await house.offset(call)
    await house.goes_on(call)


async def test_a_name_that_may_not_be_durable_does_not_count(house: House) -> None:
    call = await house.phone.begin(400_000, first=50_000)
    async with sabotaging(house.daemon.pid, "fsync:error=EIO:when=1", paths=[house.path("spool")]):
        answer = await house.patch(call, bytes(300_000))
    assert (503, "spool-failed") == code(answer)
    assert 50_000 == await house.offset(call)
    await house.goes_on(call)


@pytest.mark.parametrize(
    ("error", "refusal"), [("ENOSPC", (507, "out-of-room")), ("EIO", (503, "spool-failed"))]
)
async def test_what_was_written_before_the_disk_refused_counts(
    house: House, error: str, refusal: tuple[int, str]
) -> None:
    call = await house.phone.begin(2_000_000, first=50_000)
    sent = Random(4).randbytes(1_500_000)
    # A write has the whole chunks of a slab at most, and the first one the header as well.
    async with sabotaging(house.daemon.pid, f"write:error={error}:when=3+", paths=[house.piece(call, 2)]):
        answer = await house.patch(call, sent)
    assert refusal == code(answer)
    kept = await house.offset(call) - len(call.content)
    assert SLAB <= kept <= 2 * SLAB
    assert kept == whole_chunks(house.piece(call, 2))
    call.content += sent[:kept]
    await house.goes_on(call)


async def test_nothing_of_an_append_with_a_checksum_counts_when_the_disk_refuses_it(house: House) -> None:
    call = await house.phone.begin(700_000, first=50_000)
    with pytest.raises(AssertionError, match="507"):
        async with sabotaging(house.daemon.pid, "write:error=ENOSPC:when=3+", paths=[house.piece(call, 2)]):
            await house.phone.append(call, 650_000, checksum="sha256")
    assert 50_000 == await house.offset(call)
    await house.goes_on(call)


async def test_an_upload_keeps_its_address_when_its_first_bytes_are_refused(house: House) -> None:
    headers = {
        **house.account.auth,
        **TUS,
        "Upload-Length": "30000",
        "Content-Type": "application/offset+octet-stream",
    }
    async with sabotaging(house.daemon.pid, "fsync:error=EIO:when=1", paths=[house.path("spool")]):
        answer = await house.network.request("POST", "/v1/uploads", headers, body=bytes(30_000))
    assert answer is not None
    assert (503, "spool-failed") == code(answer)
    headers = {**house.account.auth, **TUS}
    found = await house.network.answered("HEAD", answer.headers["Location"], headers)
    assert (200, "0") == (found.status, found.headers["Upload-Offset"])


@pytest.mark.parametrize("fault", ["fdatasync:error=EIO", "pwrite64:error=EIO", "pwrite64:error=ENOSPC"])
async def test_no_offset_is_acknowledged_that_the_catalog_did_not_take(house: House, fault: str) -> None:
    call = await house.phone.begin(400_000, first=50_000)
    sent = Random(4).randbytes(300_000)
    wal = [house.path("catalog.db-wal"), house.path("catalog.db")]
    async with sabotaging(house.daemon.pid, f"{fault}:when=1+", paths=wal):
        answer = await house.patch(call, sent)
    assert answer.status in (503, 507), answer
    kept = await house.offset(call) - len(call.content)
    assert 0 <= kept <= len(sent)
    call.content += sent[:kept]
    await house.goes_on(call)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("fdatasync:error=EIO", "keys.db-wal"),
        ("pwrite64:error=EIO", "keys.db-wal"),
        ("pwrite64:error=ENOSPC", "keys.db-wal"),
        ("pwrite64:error=EIO", "root/slots"),
        ("fsync:error=EIO", "root/slots"),
    ],
)
async def test_there_is_no_receipt_for_a_shred_that_the_disk_refused_until_it_is_done(
    house: House, fault: str, name: str
) -> None:
    call = await house.phone.begin(50_000, first=50_000)
    other = await house.phone.begin(20_000, first=20_000)
    await jobs_done(house.network)
    path = f"/v1/recordings/{call.id}"
    async with sabotaging(house.daemon.pid, f"{fault}:when=1+", paths=[house.path(name)]):
        answer = await house.network.request("DELETE", path, house.account.auth)
        assert answer is not None
        assert answer.status in (202, 503), answer
        if answer.status == 202:
            assert answer.json()["receipt"] is None
        # Revoked all the same.
        call.state = "erased"
        await check_gone(call, house.account, house.network)
        told = await house.network.answered("GET", f"/v1/receipts/{call.id}", house.account.auth)
        assert ("revoked", None) == (told.json()["state"], told.json()["receipt"])
    answer = await house.network.answered("DELETE", path, house.account.auth)
    assert 200 == answer.status, answer
    call.receipt = answer.json()["receipt"]
    assert call.receipt is not None
    await check_gone(call, house.account, house.network)
    await check_live(other, house.account, house.network)
    await jobs_done(house.network)
    told = await house.network.answered("GET", f"/v1/receipts/{call.id}", house.account.auth)
    assert "purged" == told.json()["state"]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_a_commit_that_failed_and_came_back_finds_its_root(house: House, number: int) -> None:
    """
    SQLite reports a commit whose fsync failed as not done, but what it wrote is in the write-ahead log: a crash brings
    it back. The root that such a commit is sealed under must not be destroyed before it is overwritten.
    """
    call = await house.phone.begin(50_000, first=50_000)
    other = await house.phone.begin(20_000, first=20_000)
    await jobs_done(house.network)
    path = f"/v1/recordings/{call.id}"
    wal, slots = house.path("keys.db-wal"), house.path("root/slots")
    async with sabotaging(house.daemon.pid, "fdatasync:error=EIO:when=1+", paths=[wal]):
        answer = await house.network.request("DELETE", path, house.account.auth)
        assert answer is not None
        assert answer.status in (202, 503), answer
    call.state = "erased"
    async with sabotaging(house.daemon.pid, f"pwrite64:signal=KILL:when={number}", paths=[slots]):
        retry = asyncio.create_task(house.network.request("DELETE", path, house.account.auth))
        ending = asyncio.create_task(house.daemon.ended())
        await asyncio.wait([retry, ending], return_when=asyncio.FIRST_COMPLETED)
        assert ending.done() == (number < 4)
        ending.cancel()
    if number < 4:
        house.network.goes_down()
        await house.daemon.start()
        house.network.went_up(house.daemon.url)
    await retry
    answer = await house.network.answered("DELETE", path, house.account.auth)
    assert 200 == answer.status, answer
    call.receipt = answer.json()["receipt"]
    await check_gone(call, house.account, house.network)
    await check_live(other, house.account, house.network)
