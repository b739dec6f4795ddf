"""
Exports: a copy of everything, taken away as one ZIP that goes on where a download was cut.
"""

import asyncio
import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gateway.api.errors import Transient
from gateway.services.blobs import PlacedBlob
from gateway.services.holds import Cause
from tests.http.phone import Phone, blob_files, metadata_of, speech
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

EXPORTS = "/v1/exports"
CUT = r"payload|reset|disconnected|closed"


async def asked(phone: Phone, *include: str) -> str:
    answer = await phone.ask(
        "POST",
        EXPORTS,
        {"Content-Type": "application/json"},
        json.dumps({"include": list(include or ("audio",))}).encode(),
    )
    assert 202 == answer.status, answer.body
    assert "2" == answer.headers["Retry-After"]
    return answer.headers["Location"].rpartition("/")[2]


async def told(phone: Phone, export: str) -> dict[str, Any]:
    answer = await phone.ask("GET", f"{EXPORTS}/{export}")
    assert 200 == answer.status, answer.body
    return answer.document


async def ready(phone: Phone, *include: str) -> dict[str, Any]:
    """
    Ask for an export, do the work, and return how it is then.
    """
    export = await asked(phone, *include)
    await phone.served.placed()
    return await told(phone, export)


async def downloaded(phone: Phone, export: dict[str, Any]) -> bytes:
    answer = await phone.ask("GET", export["archive"])
    assert 200 == answer.status, answer.body
    assert export["size"] == len(answer.body) == int(answer.headers["Content-Length"])
    return answer.body


def pick(document: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(document[name] for name in names)


def opened(archive: bytes) -> zipfile.ZipFile:
    found = zipfile.ZipFile(io.BytesIO(archive))
    assert found.testzip() is None
    return found


def listed(archive: zipfile.ZipFile, number: int = 1) -> list[dict[str, Any]]:
    found = json.loads(archive.read(f"recordings-{number:04}.json"))
    assert isinstance(found, list)
    return found


async def recorded(phone: Phone, clock: FakeClock, sound: bytes, **metadata: str) -> str:
    """
    Upload a recording, a second after the one before.
    """
    clock.advance(1)
    answer = await phone.create(
        len(sound), {"Upload-Metadata": metadata_of(**metadata)} if metadata else {}, sound
    )
    assert 201 == answer.status, answer.body
    return answer.upload_id


async def test_an_archive_has_every_recording_its_details_and_all_that_is_personal(
    served: Served, clock: FakeClock
) -> None:
    phone = await Phone.of_new_user(served, "Ada Lovelace")
    sounds = [speech(n, seed=n) for n in (0, 1, 16384, 700_000)]
    ids = [
        await recorded(
            phone,
            clock,
            sound,
            filename=f"call {number}.m4a",
            filetype="audio/mp4",
            party_name="Żółć & <Söhne>/\\:*?",
            note="a\nb",
        )
        for number, sound in enumerate(sounds)
    ]
    stranger = await Phone.of_new_user(served, "Grace")
    await stranger.record(b"not his")
    erased = await phone.record(b"erased before")
    await phone.erase(erased)

    export = await ready(phone)
    assert ("ready", 4, 4, 0) == pick(export, "state", "recordings", "checked", "missing_count")
    archive = opened(await downloaded(phone, export))
    entries = listed(archive)
    # Newest first.
    assert ids == [entry["id"] for entry in reversed(entries)]
    for entry, sound in zip(reversed(entries), sounds, strict=True):
        assert sound == archive.read(entry["file"])
        assert hashlib.sha256(sound).hexdigest() == entry["sha256"]
        assert "a\nb" == entry["details"]["note"]
        assert entry["file"].endswith("Żółć & Söhne.m4a")
    page = archive.read("index.html").decode()
    assert "Ada Lovelace" in page
    assert "Żółć &amp; &lt;Söhne&gt;" in page
    assert "<script" not in page
    [account] = json.loads(archive.read("personal/account.json"))
    assert "Ada Lovelace" == account["name"]
    [deletion] = json.loads(archive.read("personal/deletions.json"))
    assert erased == deletion["recording"]
    [receipt] = json.loads(archive.read("personal/receipts.json"))
    assert "shredded" == receipt["receipts"][0]["statement"]
    assert b"Grace" not in archive.read("index.html")


async def test_every_program_that_unpacks_takes_it(served: Served, tmp_path: Path) -> None:
    phone = await Phone.of_new_user(served)
    await phone.record(speech(5000), filename="ä.ogg", party_name="Ö")
    file = tmp_path / "a.zip"
    file.write_bytes(await downloaded(phone, await ready(phone)))
    programs = {"unzip": ["unzip", "-tq"], "7z": ["7z", "t"], "bsdtar": ["bsdtar", "-tf"]}
    for name, command in programs.items():
        if shutil.which(name):
            done = subprocess.run([*command, file], capture_output=True, check=False)
            assert 0 == done.returncode, (name, done.stdout, done.stderr)


async def test_any_range_is_exactly_that_part(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    for number in range(3):
        await phone.record(speech(30_000, seed=number), party_name=f"P{number}")
    export = await ready(phone, "audio", "sealed")
    whole = await downloaded(phone, export)
    assert whole == await downloaded(phone, export)
    size = len(whole)
    head = await phone.ask("HEAD", export["archive"])
    assert (200, str(size), b"") == (head.status, head.headers["Content-Length"], head.body)
    etag = head.headers["ETag"]
    for first in [0, 1, 29, 30, *range(7, size, 4999), size - 23, size - 1]:
        for last in {first, min(size - 1, first + 40_000), size - 1}:
            answer = await phone.ask(
                "GET", export["archive"], {"Range": f"bytes={first}-{last}", "If-Range": etag}
            )
            assert 206 == answer.status
            assert f"bytes {first}-{last}/{size}" == answer.headers["Content-Range"]
            assert whole[first : last + 1] == answer.body
    assert 416 == (await phone.ask("GET", export["archive"], {"Range": f"bytes={size}-"})).status
    assert whole == (await phone.ask("GET", export["archive"], {"Range": "bytes=5-", "If-Range": '"x"'})).body
    assert 304 == (await phone.ask("GET", export["archive"], {"If-None-Match": etag})).status


async def test_curl_goes_on_where_it_was_cut(served: Served, clock: FakeClock, tmp_path: Path) -> None:
    phone = await Phone.of_new_user(served)
    await recorded(phone, clock, speech(2_000_000))
    export = await ready(phone)
    whole = await downloaded(phone, export)
    file = tmp_path / "archive.zip"
    for cut in (0, 1, 700_000, len(whole) - 1):
        file.write_bytes(whole[:cut])
        await run_curl(phone, export["archive"], file)
        assert whole == file.read_bytes()


async def run_curl(phone: Phone, path: str, file: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--continue-at",
        "-",
        "--output",
        str(file),
        "--header",
        f"Authorization: {phone.auth['Authorization']}",
        phone.served.url + path,
    )
    return await process.wait()


async def test_an_erased_recording_leaves_the_archive(served: Served, clock: FakeClock) -> None:
    phone = await Phone.of_new_user(served)
    kept = await recorded(phone, clock, speech(50_000, seed=1), party_name="Kept")
    gone = await recorded(phone, clock, speech(50_000, seed=2), party_name="Secret party")
    export = await ready(phone)
    whole = await downloaded(phone, export)
    await phone.erase(gone)

    # Whoever had begun cannot go on: bytes of two archives are never joined.
    answer = await phone.ask("GET", export["archive"], {"Range": f"bytes={len(whole) - 100}-"})
    assert (410, "export-changed") == (answer.status, answer.problem["code"])
    answer = await phone.ask("GET", export["archive"])
    assert 409 == answer.status
    await served.placed()
    assert 410 == (await phone.ask("GET", export["archive"])).status

    again = await told(phone, export["id"])
    assert "ready" == again["state"]
    assert export["archive"] != again["archive"]
    assert [(gone, "erased")] == [(one["recording"], one["reason"]) for one in again["missing"]]
    archive = opened(await downloaded(phone, again))
    assert [gone, kept] == [entry["id"] for entry in listed(archive)]
    assert "erased" == listed(archive)[0]["missing"]["reason"]
    assert b"Secret party" not in await downloaded(phone, again)
    assert b"could not be taken along" in archive.read("index.html")
    # Without saying which archive, nobody goes on any more: there were two.
    plain = f"{EXPORTS}/{export['id']}/archive"
    for part in ("bytes=100-", "bytes=-100", f"bytes={again['size'] + 1}-"):
        answer = await phone.ask("GET", plain, {"Range": part})
        assert (410, "export-changed") == (answer.status, answer.problem["code"])
    for begins in ("bytes=0-", "bytes=0-99", "pages=3-"):
        answer = await phone.ask("GET", plain, {"Range": begins})
        assert (200, again["size"]) == (answer.status, len(answer.body))
    answer = await phone.ask("GET", plain, {"Range": "bytes=100-", "If-Range": '"another"'})
    assert (200, again["size"]) == (answer.status, len(answer.body))


async def test_curl_never_joins_two_archives(served: Served, tmp_path: Path) -> None:
    phone = await Phone.of_new_user(served)
    gone = await phone.record(speech(50_000, seed=2))
    export = await ready(phone)
    whole = await downloaded(phone, export)
    await phone.erase(gone)
    await told(phone, export["id"])
    await served.placed()
    for path in (export["archive"], f"{EXPORTS}/{export['id']}/archive"):
        file = tmp_path / "archive.zip"
        file.write_bytes(whole[:1000])
        assert await run_curl(phone, path, file)
        assert whole[:1000] == file.read_bytes()


async def test_what_expires_meanwhile_or_is_broken_is_listed_with_the_reason(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    before = set(blob_files(served))
    damaged = await phone.record(speech(40_000, seed=1), party_name="Damaged")
    await served.placed()
    [blob] = set(blob_files(served)) - before
    content = bytearray(blob.read_bytes())
    content[20_000] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    lost = await phone.record(speech(40_000, seed=2), party_name="Lost")
    await served.placed()
    [other] = set(blob_files(served)) - before - {blob}
    other.unlink()
    whole = await phone.record(speech(40_000, seed=3), party_name="Whole")
    erased = await phone.record(speech(40_000, seed=4))
    export = await asked(phone)
    await phone.erase(erased)
    await served.placed()

    found = await told(phone, export)
    assert {damaged: "damaged", lost: "lost", erased: "erased"} == {
        one["recording"]: one["reason"] for one in found["missing"]
    }
    assert all(one["words"] for one in found["missing"])
    archive = opened(await downloaded(phone, found))
    by_id = {entry["id"]: entry for entry in listed(archive)}
    assert "Damaged" == by_id[damaged]["details"]["party_name"]
    assert by_id[erased]["details"] is None
    assert [by_id[whole]["file"]] == [name for name in archive.namelist() if name.startswith("recordings/")]
    page = archive.read("index.html").decode()
    assert "damaged, in every copy" in page
    assert "Lost" in page


async def test_what_breaks_while_it_is_offered_is_left_out_then(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    before = set(blob_files(served))
    await phone.record(speech(40_000, seed=1), party_name="Broken")
    await served.placed()
    export = await ready(phone)
    whole = await downloaded(phone, export)
    [blob] = set(blob_files(served)) - before
    blob.write_bytes(blob.read_bytes()[:100])
    with pytest.raises(Exception, match=CUT):
        await phone.ask("GET", export["archive"])
    await served.placed()
    again = await told(phone, export["id"])
    assert 1 == again["missing_count"]
    assert len(opened(await downloaded(phone, again)).namelist()) + 1 == len(opened(whole).namelist())


async def test_an_export_ends_for_good(served: Served, clock: FakeClock) -> None:
    phone = await Phone.of_new_user(served)
    await phone.record(speech(100))
    first = await ready(phone)
    ended = await phone.ask("DELETE", f"{EXPORTS}/{first['id']}")
    assert (200, "ended", "deleted", True) == (
        ended.status,
        *(ended.document[k] for k in ("state", "end_reason", "shredded")),
    )
    answer = await phone.ask("GET", first["archive"])
    assert (410, "gone") == (answer.status, answer.problem["code"])

    second = await ready(phone)
    clock.advance(7 * 86400 - 60)
    phone = await signed_in_again(phone)
    assert "ready" == (await told(phone, second["id"]))["state"]
    clock.advance(60)
    phone = await signed_in_again(phone)
    assert 410 == (await phone.ask("GET", second["archive"])).status
    await served.gateway.exports.service.sweep()
    await served.placed()
    found = await told(phone, second["id"])
    assert ("ended", "expired", True) == pick(found, "state", "end_reason", "shredded")
    keyring = served.gateway.context.keyring
    for export in (first, second):
        [receipt] = await keyring.receipts_of(export["id"])
        assert "export" == receipt.document["subject"]["kind"]
    clock.advance(86401)
    phone = await signed_in_again(phone)
    await served.gateway.exports.service.sweep()
    assert 404 == (await phone.ask("GET", f"{EXPORTS}/{second['id']}")).status


async def signed_in_again(phone: Phone) -> Phone:
    token = await phone.served.gateway.context.accounts.new_token(phone.user_id, lifetime_s=3600)
    return Phone(phone.served, phone.user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def test_limits(served: Served, clock: FakeClock) -> None:
    phone = await Phone.of_new_user(served)
    first = await asked(phone)
    answer = await phone.ask("POST", EXPORTS)
    assert (409, "export-exists", False) == (
        answer.status,
        answer.problem["code"],
        answer.problem.get("retry", False),
    )
    not_ready = await phone.ask("GET", f"{EXPORTS}/{first}/archive")
    assert (409, "export-not-ready", "2") == (
        not_ready.status,
        not_ready.problem["code"],
        not_ready.headers["Retry-After"],
    )
    await phone.ask("DELETE", f"{EXPORTS}/{first}")
    for _ in range(2):
        await phone.ask("DELETE", f"{EXPORTS}/{await asked(phone)}")
    answer = await phone.ask("POST", EXPORTS)
    assert (429, "too-many-exports", "86400") == (
        answer.status,
        answer.problem["code"],
        answer.headers["Retry-After"],
    )
    assert (
        "include"
        == (
            await phone.ask("POST", EXPORTS, {"Content-Type": "application/json"}, b'{"include": ["x"]}')
        ).field
    )
    stranger = await Phone.of_new_user(served, "Grace")
    for method, path in (
        ("GET", f"{EXPORTS}/{first}"),
        ("DELETE", f"{EXPORTS}/{first}"),
        ("GET", f"{EXPORTS}/{first}/archive"),
    ):
        assert 404 == (await stranger.ask(method, path)).status
    assert [] == (await stranger.ask("GET", EXPORTS)).document["exports"]
    assert 3 == len((await phone.ask("GET", EXPORTS)).document["exports"])


async def test_an_export_that_is_too_large_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    async with serving(
        tmp_path / "data", clock=clock, with_workers=False, exports={"max_bytes": 1000}
    ) as served:
        phone = await Phone.of_new_user(served)
        await phone.record(speech(1001))
        answer = await phone.ask("POST", EXPORTS)
        assert (422, "export-too-large") == (answer.status, answer.problem["code"])


async def test_a_held_recording_can_be_taken_along(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(speech(100), party_name="Held")
    holds = served.gateway.holds
    await holds.place(phone.user_id, Cause(reason="case 12", placed_by="ops"), tells_user=True, by=OPS)
    await holds.place(phone.user_id, Cause(reason="secret", placed_by="ops"), by=OPS)
    archive = opened(await downloaded(phone, await ready(phone)))
    assert [recording] == [entry["id"] for entry in listed(archive)]
    assert ["case 12"] == [hold["reason"] for hold in json.loads(archive.read("personal/holds.json"))]
    assert b"secret" not in archive.read("personal/holds.json")


async def test_what_comes_later_is_not_in_it(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    early = await phone.record(speech(100, seed=1))
    export = await asked(phone)
    await phone.record(speech(100, seed=2))
    await served.placed()
    archive = opened(await downloaded(phone, await told(phone, export)))
    assert [early] == [entry["id"] for entry in listed(archive)]


async def test_an_account_without_recordings(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    archive = opened(await downloaded(phone, await ready(phone)))
    assert [] == listed(archive)
    assert b"There were none." in archive.read("index.html")


async def test_several_pages(served: Served, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.services.export_contents.PAGE", 3)
    phone = await Phone.of_new_user(served)
    ids = [await recorded(phone, clock, speech(500, seed=n), party_name=f"P{n}") for n in range(8)]
    export = await ready(phone)
    archive = opened(await downloaded(phone, export))
    found = [entry["id"] for number in (1, 2, 3) for entry in listed(archive, number)]
    assert ids == found[::-1]
    assert b"page 2 of 3" in archive.read("pages/0002.html")
    await phone.erase(ids[0])
    await told(phone, export["id"])
    await served.placed()
    archive = opened(await downloaded(phone, await told(phone, export["id"])))
    assert b"1 on page 3" in archive.read("index.html")


async def test_zip64(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gateway.services.export_making.MOST_PLAIN_BYTES", 1000)
    phone = await Phone.of_new_user(served)
    sound = speech(30_000)
    await phone.record(sound)
    export = await ready(phone, "audio", "sealed")
    whole = await downloaded(phone, export)
    assert b"PK\x06\x06" in whole[-200:]
    archive = opened(whole)
    [entry] = listed(archive)
    assert sound == archive.read(entry["file"])
    for first in range(0, len(whole), 3001):
        answer = await phone.ask("GET", export["archive"], {"Range": f"bytes={first}-"})
        assert whole[first:] == answer.body
    file = tmp_path / "a.zip"
    file.write_bytes(whole)
    if shutil.which("unzip"):
        assert 0 == subprocess.run(["unzip", "-tq", file], capture_output=True, check=False).returncode


async def test_only_so_many_downloads_go_on_at_once(served: Served, clock: FakeClock) -> None:
    phone = await Phone.of_new_user(served)
    await recorded(phone, clock, speech(30_000_000))
    export = await ready(phone)
    url = export["archive"]
    async with (
        served.http.get(url, headers=phone.auth) as one,
        served.http.get(url, headers=phone.auth) as two,
    ):
        assert 200 == one.status == two.status
        third = await phone.ask("GET", url)
        assert (429, "60") == (third.status, third.headers["Retry-After"])
        # Ending the export ends them.
        await phone.ask("DELETE", f"{EXPORTS}/{export['id']}")
        for going in (one, two):
            with pytest.raises(Exception, match=CUT):
                await going.read()


async def test_a_place_that_does_not_answer_is_waited_for(
    served: Served, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await Phone.of_new_user(served)
    away = await recorded(phone, clock, speech(50_000, seed=1), party_name="Away")
    await recorded(phone, clock, speech(50_000, seed=2))
    await served.placed()
    cloud = Cloud(away, monkeypatch)
    export = await asked(phone)
    await served.placed()
    assert ("preparing", 1) == pick(await told(phone, export), "state", "checked")

    # It answers again.
    cloud.is_down = False
    clock.advance(299)
    await served.gateway.exports.service.sweep()
    await served.placed()
    assert "preparing" == (await told(phone, export))["state"]
    clock.advance(1)
    await served.gateway.exports.service.sweep()
    await served.placed()
    found = await told(phone, export)
    assert ("ready", 2, 0) == pick(found, "state", "checked", "missing_count")
    whole = await downloaded(phone, found)

    # It is down while the archive is offered: the download waits for it, too, but not for ever.
    cloud.is_down = True
    at = whole.index(speech(50_000, seed=1)) + 100
    answer = await phone.ask("GET", found["archive"], {"Range": f"bytes={at}-"})
    assert (503, "provider-unavailable", "5") == (
        answer.status,
        answer.problem["code"],
        answer.headers["Retry-After"],
    )
    assert (
        whole[:at]
        == (await phone.ask("GET", found["archive"], {"Range": f"bytes=0-{at - 200}"})).body
        + (whole[at - 199 : at])
    )
    clock.advance(6 * 3600)
    phone = await signed_in_again(phone)
    assert 410 == (await phone.ask("GET", found["archive"], {"Range": f"bytes={at}-"})).status
    await served.placed()
    again = await told(phone, export)
    assert [(away, "unreachable")] == [(one["recording"], one["reason"]) for one in again["missing"]]
    archive = opened(await downloaded(phone, again))
    assert b"could not be reached" in archive.read("index.html")
    assert b"Away" in archive.read("index.html")


class Cloud:
    """
    Where one recording lies, and which does not answer.
    """

    def __init__(self, recording: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_down = True
        read = PlacedBlob.read

        def read_or_fail(blob: PlacedBlob, start: int, length: int) -> Any:
            if self.is_down and str(blob.placement.recording_id) == recording:
                raise Transient("the cloud does not answer")
            return read(blob, start, length)

        monkeypatch.setattr(PlacedBlob, "read", read_or_fail)
        # The home's own files are read past it.
        monkeypatch.setattr("gateway.services.linked_places.LinkedPlaces.near", lambda places, place: None)
