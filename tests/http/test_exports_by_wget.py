"""
Exports as wget takes them away: it asks for the rest by a range alone, without saying of which archive.
"""

import asyncio
import hashlib
from pathlib import Path

from tests.http.phone import Phone, speech
from tests.http.test_exports import EXPORTS, downloaded, ready, recorded, told
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.tcp_proxy import proxying
from tests.support.waiting import until

SERVER_ERROR = 8
"""Wget's status when the server refused."""


async def wget(phone: Phone, url: str, file: Path, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("wget", "--no-config", "--no-verbose", "--continue", "--tries=3", "--waitretry=0"),
        *("--output-document", str(file), "--header", f"Authorization: {phone.auth['Authorization']}"),
        *options,
        url,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def status_of(phone: Phone, path: str, file: Path) -> int:
    return await (await wget(phone, phone.served.url + path, file)).wait()


async def test_wget_goes_on_where_it_was_cut(served: Served, clock: FakeClock, tmp_path: Path) -> None:
    phone = await Phone.of_new_user(served)
    await recorded(phone, clock, speech(2_000_000))
    export = await ready(phone)
    whole = await downloaded(phone, export)
    file = tmp_path / "archive.zip"
    # The last of these has nothing to go on with: the answer to its range is 416, which wget takes for the end.
    for cut in (0, 1, 700_000, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:cut])
        assert 0 == await status_of(phone, export["archive"], file)
        assert whole == file.read_bytes()


async def test_wget_goes_on_by_itself_when_its_connection_is_reset(
    served: Served, clock: FakeClock, tmp_path: Path
) -> None:
    phone = await Phone.of_new_user(served)
    await recorded(phone, clock, speech(3_000_000))
    export = await ready(phone)
    whole = await downloaded(phone, export)
    file = tmp_path / "archive.zip"
    async with proxying(served.url) as proxy:
        running = await wget(phone, proxy.url + export["archive"], file, "--limit-rate=2m")
        await until(lambda: file.exists() and file.stat().st_size > 500_000)
        proxy.reset_all()
        assert 0 == await running.wait()
    assert hashlib.sha256(whole).digest() == hashlib.sha256(file.read_bytes()).digest()


async def test_wget_never_joins_two_archives(served: Served, tmp_path: Path) -> None:
    phone = await Phone.of_new_user(served)
    gone = await phone.record(speech(50_000, seed=2))
    await phone.record(speech(50_000, seed=3))
    export = await ready(phone)
    whole = await downloaded(phone, export)
    await phone.erase(gone)
    await told(phone, export["id"])
    await served.placed()
    file = tmp_path / "archive.zip"
    for path in (export["archive"], f"{EXPORTS}/{export['id']}/archive"):
        # More than both begin with: wget adds what it gets to what it has.
        file.write_bytes(whole[:45_000])
        assert SERVER_ERROR == await status_of(phone, path, file)
        assert whole[:45_000] == file.read_bytes()

    file.unlink()
    assert 0 == await status_of(phone, (await told(phone, export["id"]))["archive"], file)
    assert await downloaded(phone, await told(phone, export["id"])) == file.read_bytes()


async def test_wget_says_that_an_export_has_ended(served: Served, tmp_path: Path) -> None:
    phone = await Phone.of_new_user(served)
    await phone.record(speech(50_000))
    export = await ready(phone)
    whole = await downloaded(phone, export)
    assert 200 == (await phone.ask("DELETE", f"{EXPORTS}/{export['id']}")).status
    file = tmp_path / "archive.zip"
    file.write_bytes(whole[:1000])

    assert SERVER_ERROR == await status_of(phone, export["archive"], file)

    assert whole[:1000] == file.read_bytes()
