"""
What is special about a server that is reached by SSH: who it is, what it has in its folder, how full its disk is.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_sftp.backend import connect
from gateway_sftp.client import Folder
from gateway_sftp.settings import SftpSettings

from gateway.api import (
    BackendContext,
    BackendError,
    Misconfigured,
    PutSession,
    Quota,
    QuotaExceeded,
    SessionLost,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import read_all
from gateway.testing.resumable import begun, puts_of
from gateway.testing.sources import BytesSource, pattern

CONTEXT = BackendContext(account="sftp")


@pytest.fixture
def settings(sshd, tmp_path: Path) -> SftpSettings:
    return sshd.settings(tmp_path / "root")


async def refusal(settings: SftpSettings) -> str:
    with pytest.raises(Misconfigured) as caught:
        await connect(CONTEXT, settings).__aenter__()
    return str(caught.value)


# Who it is


async def test_a_server_that_nobody_knows_is_refused(settings: SftpSettings, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.touch()
    assert "trusted" in await refusal(replace(settings, known_hosts=nobody))


async def test_a_server_with_another_key_is_refused(sshd, settings: SftpSettings, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text((sshd.folder / "known_hosts").read_text().split()[0])
    other.write_text(f"{other.read_text()} {(sshd.folder / 'other_key.pub').read_text()}")
    await refusal(replace(settings, known_hosts=other))


async def test_a_key_that_the_server_does_not_take_is_told(sshd, settings: SftpSettings) -> None:
    await refusal(replace(settings, private_key=sshd.folder / "other_key"))


@pytest.mark.parametrize("setting", ["known_hosts", "private_key"])
async def test_a_file_that_is_not_there_is_named(
    settings: SftpSettings, tmp_path: Path, setting: str
) -> None:
    told = await refusal(replace(settings, **{setting: tmp_path / "missing"}))
    assert setting in told
    assert "missing" in told


@pytest.mark.parametrize(
    "wrong",
    [
        {"root": "relative"},
        {"private_key": None},
        {"password": "both"},
        {"port": 0},
        {"host": ""},
        {"part_size": 1},
        {"max_concurrency": 0},
        {"keepalive_s": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: SftpSettings, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("password", "private_key")):
        replace(settings, **wrong)


# Its folder


async def test_a_folder_that_is_not_there_is_told(settings: SftpSettings) -> None:
    assert "/nowhere" in await refusal(replace(settings, root="/nowhere"))


async def test_a_bare_mount_point_is_no_empty_store(settings: SftpSettings) -> None:
    assert "mounted" in await refusal(replace(settings, create=False))
    async with connect(CONTEXT, settings):
        pass
    async with connect(CONTEXT, replace(settings, create=False)) as backend:
        await backend.probe()


async def test_a_disk_that_went_away_is_not_a_blob_that_is_gone(settings: SftpSettings) -> None:
    async with connect(CONTEXT, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(b"sealed"))
        Path(settings.root, "blobs").rename(Path(settings.root, "elsewhere"))
        for call in (backend.stat(ref), backend.find(ref.key), backend.delete(ref)):
            with pytest.raises(Misconfigured):
                await call
        with pytest.raises(Misconfigured):
            await backend.read(ref).__aenter__()


async def test_blobs_are_files_and_nothing_unfinished_stays(settings: SftpSettings) -> None:
    async with connect(CONTEXT, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(b"sealed"))
    root = Path(settings.root)
    assert b"sealed" == (root / "blobs" / ref.key).read_bytes()
    assert [] == list((root / "incoming").iterdir())


async def test_a_part_that_was_cut_off_is_sent_again_from_where_it_got_to(settings: SftpSettings) -> None:
    content = pattern(300_000)
    async with connect(CONTEXT, settings) as backend:
        puts = puts_of(backend)
        session = await puts.append(await begun(puts, new_blob_key(), content), content[:200_000])
        (unfinished,) = Path(settings.root, "incoming").iterdir()
        os.truncate(unfinished, 150_000)
        session = await puts.resume(session)
        assert 150_000 == session.offset
        ref = await puts.commit(await puts.append(session, content[150_000:]))
        assert content == await read_all(backend, ref)


@pytest.mark.parametrize("token", ["", "{}", '{"key": "../../etc", "name": "x.y", "size": 1}'])
async def test_a_token_that_is_not_ours_is_a_lost_session(settings: SftpSettings, token: str) -> None:
    async with connect(CONTEXT, settings) as backend:
        with pytest.raises(SessionLost):
            await puts_of(backend).resume(PutSession(token, 0))


@pytest.mark.parametrize("name", ["../../etc/passwd", "x.y", f"{64 * '0'}.../y"])
async def test_a_name_in_a_token_leads_nowhere_else(settings: SftpSettings, name: str) -> None:
    token = f'{{"key": "{64 * "0"}", "name": "{name}", "size": 1}}'
    async with connect(CONTEXT, settings) as backend:
        with pytest.raises(SessionLost):
            await puts_of(backend).abort(PutSession(token, 0))


# Its disk


async def test_the_disk_tells_how_full_it_is(settings: SftpSettings) -> None:
    async with connect(CONTEXT, settings) as backend:
        quota = await backend.quota()
    assert quota is not None
    assert quota.limit is not None
    assert 0 < quota.used <= quota.limit


async def test_a_server_that_does_not_tell_has_no_quota(plain_sshd, tmp_path: Path) -> None:
    async with connect(CONTEXT, plain_sshd.settings(tmp_path / "root")) as backend:
        assert await backend.quota() is None


async def on_a_full_device(settings: SftpSettings) -> BackendError:
    """
    Return what a part ends with where the server's system call says that no space is left.
    """
    content = pattern(100_000)
    async with connect(CONTEXT, settings) as backend:
        puts = puts_of(backend)
        session = await begun(puts, new_blob_key(), content)
        (unfinished,) = Path(settings.root, "incoming").iterdir()
        unfinished.unlink()
        unfinished.symlink_to("/dev/full")
        with pytest.raises(BackendError) as caught:
            await puts.append(session, content)
    return caught.value


async def test_a_failure_on_a_disk_without_room_is_that_it_is_full(
    settings: SftpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def room(_folder: Folder) -> Quota:
        return Quota(used=1000, limit=1000)

    monkeypatch.setattr(Folder, "room", room)
    assert QuotaExceeded is type(await on_a_full_device(settings))


async def test_a_failure_on_a_disk_with_room_may_pass(settings: SftpSettings) -> None:
    assert Transient is type(await on_a_full_device(settings))
