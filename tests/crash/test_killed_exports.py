"""
The daemon is SIGKILLed while it prepares an export and while it sends one.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import aiohttp

from tests.http.phone import metadata_of, speech
from tests.support.gateway import APPEND, Daemon, running_daemon
from tests.support.waiting import until

CANARY = "canary-of-a-party"


async def test_an_export_goes_on_after_any_kill_with_the_same_bytes(tmp_path: Path) -> None:
    async with running_daemon(tmp_path / "data", environment={"GATEWAY_JOBS__LEASE_S": "1"}) as daemon:
        _, auth = daemon.new_user("Ada Lovelace")
        sounds = [speech(300_000, seed=number) for number in range(12)]
        async with aiohttp.ClientSession(daemon.url, headers=auth) as http:
            for sound in sounds:
                headers = {
                    **APPEND,
                    "Upload-Length": str(len(sound)),
                    "Upload-Metadata": metadata_of(party_name=CANARY),
                }
                async with http.post("/v1/uploads", data=sound, headers=headers) as response:
                    assert 201 == response.status
            async with http.post("/v1/exports", json={"include": ["audio", "sealed"]}) as response:
                export = (await response.json())["id"]
        # While it is prepared, at whatever step it is just then.
        for checked in (0, 2, 7):
            await told(daemon, auth, export, at_least=checked)
            daemon.kill()
            assert no_plaintext(tmp_path, sounds[0])
            await daemon.start()
        document = await told(daemon, auth, export, at_least=12, state="ready")
        assert (12, 0) == (document["checked"], document["missing_count"])

        # While it is sent.
        content = b""
        for stop in (1_000, 700_000, document["size"] - 3):
            async with (
                aiohttp.ClientSession(daemon.url, headers=auth) as http,
                http.get(document["archive"], headers={"Range": f"bytes={len(content)}-"}) as response,
            ):
                assert 206 == response.status
                content += await response.content.readexactly(stop - len(content))
                daemon.kill()
            assert no_plaintext(tmp_path, sounds[0])
            await daemon.start()
        async with aiohttp.ClientSession(daemon.url, headers=auth) as http:
            async with http.get(document["archive"], headers={"Range": f"bytes={len(content)}-"}) as response:
                content += await response.read()
            async with http.get(document["archive"]) as response:
                assert content == await response.read()
            archive = zipfile.ZipFile(io.BytesIO(content))
            assert archive.testzip() is None
            found = [archive.read(name) for name in archive.namelist() if name.startswith("recordings/")]
            assert sorted(sounds) == sorted(found)
            # Killed between the end of an export and the end of its key.
            async with http.delete(f"/v1/exports/{export}") as response:
                assert "ended" == (await response.json())["state"]
        daemon.kill()
        await daemon.start()
        await told(daemon, auth, export, state="ended", is_shredded=True)


async def told(
    daemon: Daemon,
    auth: dict[str, str],
    export: str,
    *,
    at_least: int = 0,
    state: str | None = None,
    is_shredded: bool = False,
) -> dict[str, Any]:
    """
    Return how the export is as soon as it has come so far.
    """
    found: dict[str, Any] = {}
    async with aiohttp.ClientSession(daemon.url, headers=auth) as http:

        async def has_come_so_far() -> bool:
            async with http.get(f"/v1/exports/{export}") as response:
                found.update(await response.json())
            return (
                found["checked"] >= at_least
                and state in (None, found["state"])
                and is_shredded <= found["shredded"]
            )

        await until(has_come_so_far, within_s=60)
    return found


def no_plaintext(folder: Path, sound: bytes) -> bool:
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    wanted = (CANARY.encode(), b"Ada Lovelace", sound[:32], sound[20_000:20_032])
    return not any(one in content for content in contents for one in wanted)
