"""
The story of the demo, step by step; every claim is checked at the moment it is made.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway.base.clock import SystemClock
from gateway.cli.client.connection import Connection, Patience, RequestRefused, connected
from gateway.cli.client.erasures import check_receipt, read_receipt_keys
from gateway.cli.client.progress import Transfer
from gateway.cli.client.tus import (
    SourceFile,
    StartedUpload,
    create_upload,
    encode_metadata,
    finish_upload,
    read_offset,
)
from gateway.cli.demo.backups import Backup, each_blob, put_together, take_backup
from gateway.cli.demo.gateways import (
    Gateway,
    send_and_cut,
    start_gateway,
    until_noticed,
    until_placed,
)
from gateway.cli.demo.opening import open_blob, recording_of
from gateway.cli.demo.stage import Stage, StepFailed, step
from gateway.cli.demo.traces import WINDOW, Trace, Windows, find_words, read_files
from gateway.cli.terminal import counted

_FIRST: Final = "data"
_RESTORED: Final = "restored"
_TURNED_BACK: Final = "turned-back"
_RECEIPT: Final = "receipt.json"
_DETAILS: Final = {
    "filename": "umbrella.m4a",
    "filetype": "audio/mp4",
    "direction": "out",
    "party_name": "Lost property office",
    "note": "green, with a wooden handle",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """
    A spoken recording that comes with the gateway, copied into the demo's folder.
    """

    path: Path
    content: bytes

    @classmethod
    def copied(cls, name: str, folder: Path) -> "Sample":
        """
        Copy the sample of that name.
        """
        content = files("gateway.cli").joinpath("sample", name).read_bytes()
        target = folder / name
        target.write_bytes(content)
        return cls(target, content)

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


async def tell(folder: Path) -> None:
    """
    Tell the whole story.

    Raises:
        StepFailed: something is not as it is told.
    """
    clock = SystemClock()
    started = clock.monotonic()
    call = Sample.copied("call.m4a", folder)
    message = Sample.copied("message.m4a", folder)
    async with Stage(folder) as stage, AsyncExitStack() as stack:
        gateway = await start_the_gateway(stage)
        token = await make_a_user(stage)
        connection = await stack.enter_async_context(connected(gateway.address, token))
        call_id, offset = await lose_the_connection(stage, gateway, connection, call)
        await go_on(stage, connection, call_id, offset, call)
        await look_on_the_disk(stage, gateway, call)
        await play_back(stage, connection, call_id, call)
        message_id = await upload_another(stage, gateway, message)
        backup = await back_up(stage, gateway)
        public_key = await erase_the_call(stage, connection, call_id)
        await check_offline(stage, public_key)
        restored = await restore_the_backup(stage, gateway, backup)
        connection = await stack.enter_async_context(connected(restored.address, token))
        await open_what_is_left(stage, connection, message_id, message, call_id)
        await go_round_the_catalog(stage, restored, backup, {message_id: message, call_id: None})
        await bring_back_the_old_keys(stage, restored, backup)
        took = clock.monotonic() - started
        stage.narrator.close(f"All of it held: {stage.narrator.steps} steps in {took:.0f} seconds.")


@step
async def start_the_gateway(stage: Stage) -> Gateway:
    """
    Start the gateway in an empty folder.
    """
    gateway = await start_gateway(stage, _FIRST)
    found = sorted(
        path.name for path in gateway.data.path.iterdir() if not path.name.endswith(("-wal", "-shm"))
    )
    stage.check(
        {"catalog.db", "keys.db", "root", "spool", "blobs"} <= set(found),
        f"It made its databases and folders by itself: {', '.join(found)}.",
        otherwise=f"the data directory holds only {', '.join(found)}",
    )
    return gateway


@step
async def make_a_user(stage: Stage) -> str:
    """
    Make a user and a token, beside the running daemon.
    """
    user_id = await stage.command("user", "add", "--data-dir", _FIRST, "--name", "Demo")
    token = await stage.command("token", "new", "--data-dir", _FIRST, user_id)
    stage.environment["GATEWAY_TOKEN"] = token
    return token


@step
async def lose_the_connection(
    stage: Stage, gateway: Gateway, connection: Connection, call: Sample
) -> tuple[str, int]:
    """
    Upload a telephone call, and lose the connection half way.

    Returns the upload's id and the offset that the server kept.
    """
    upload_id = await create_upload(connection, size=call.size, metadata=encode_metadata(_DETAILS))
    sent = call.size // 2
    await send_and_cut(gateway.address, stage.environment["GATEWAY_TOKEN"], upload_id, call.content, sent)
    stage.narrator.bar(sent, call.size)
    stage.narrator.say("Here the socket was cut, in the middle of a PATCH that had promised all of it.")
    await until_noticed(connection)
    offset = await read_offset(connection, upload_id)
    stage.check(
        0 < offset <= sent,
        f"Asked how far it came, the server says: {offset:,} bytes are safe.",
        otherwise=f"of {sent:,} bytes sent the server kept {offset:,}",
    )
    return upload_id, offset


@step
async def go_on(stage: Stage, connection: Connection, upload_id: str, offset: int, call: Sample) -> None:
    """
    Go on where the server stopped.
    """
    nobody = Transfer()
    await finish_upload(
        connection,
        StartedUpload(upload_id, offset),
        SourceFile.of(call.path),
        observer=nobody,
        patience=Patience(connection, tell=nobody.say),
    )
    stage.narrator.bar(call.size, call.size)
    recording = await connection.ask("GET", f"/v1/recordings/{upload_id}")
    stage.check(
        recording["size"] == call.size,
        f"The upload is a recording now, {upload_id}; only {call.size - offset:,} bytes had to be sent again.",
        otherwise=f"the recording has {recording['size']:,} bytes instead of {call.size:,}",
    )


@step
async def look_on_the_disk(stage: Stage, gateway: Gateway, call: Sample) -> None:
    """
    Look for the call on the disk.
    """
    await until_placed(gateway, recordings=1)
    windows = Windows(call.content)
    on_disk = read_files(gateway.data.path, stage.folder / f"{_FIRST}.log")
    total = sum(len(content) for content in on_disk.values())
    stage.narrator.say(
        f"Compared are all stretches of {WINDOW} bytes of the call, {windows.count:,} of them, with every place in "
        f"{counted(len(on_disk), 'file')}, {total:,} bytes: databases, write-ahead logs, spool, blobs, root, the "
        "daemon's log."
    )
    _show_that_it_finds(stage, windows, call, on_disk)
    trace = windows.find_in(on_disk)
    stage.check(
        trace is None,
        "In the gateway's files there is none.",
        otherwise=f"bytes of the call stand {_place(trace, stage)}",
    )
    trace = find_words((_DETAILS[name] for name in ("filename", "party_name", "note")), on_disk)
    stage.check(
        trace is None,
        "Nor is there the file's name, the other party's name or the note, as text or in base64.",
        otherwise=f"a word about the call stands {_place(trace, stage)}",
    )


@step
async def play_back(stage: Stage, connection: Connection, call_id: str, call: Sample) -> None:
    """
    Play it back.
    """
    audio = f"/v1/recordings/{call_id}/audio"
    first, last = 50_000, 69_999
    async with connection.request("GET", audio, headers={"Range": f"bytes={first}-{last}"}) as response:
        part = await response.read()
        told = response.headers.get("Content-Range")
    stage.check(
        part == call.content[first : last + 1],
        f"A range ({told}) is exactly that part of the file.",
        otherwise="the range is not that part of the file",
    )
    whole = await _listen(connection, call_id)
    stage.check(
        hashlib.sha256(whole).hexdigest() == call.sha256,
        f"The whole has the file's SHA-256, {call.sha256}.",
        otherwise="the whole does not have the file's SHA-256",
    )


@step
async def upload_another(stage: Stage, gateway: Gateway, message: Sample) -> str:
    """
    Upload another recording, with the command for people.
    """
    stage.environment["GATEWAY_URL"] = gateway.address
    message_id = await stage.command("upload", message.path.name, "--direction", "in", "--label", "garden")
    await stage.command("recordings")
    return message_id


@step
async def back_up(stage: Stage, gateway: Gateway) -> Backup:
    """
    Take a backup.
    """
    await until_placed(gateway, recordings=2)
    backup = take_backup(gateway.data, stage.folder / "backup")
    blobs = list(each_blob(backup.blobs))
    stage.check(
        len(blobs) == 2,
        f"It has the catalog and {counted(len(blobs), 'sealed blob')}, which may be backed up freely.",
        otherwise=f"the backup holds {counted(len(blobs), 'blob')} instead of 2",
    )
    stage.narrator.say(
        "Somebody also put a copy of the key database aside, which is no use, as will be seen."
    )
    return backup


@step
async def erase_the_call(stage: Stage, connection: Connection, call_id: str) -> str:
    """
    Erase the call.

    Returns the public key that receipts are signed with.
    """
    await stage.command("delete", call_id, "--yes", "--receipt", _RECEIPT)
    document = json.loads((stage.folder / _RECEIPT).read_text("utf-8"))
    stage.narrator.say("This is the receipt:")
    stage.narrator.quote(json.dumps(document["receipt"], indent=2))
    keys = await read_receipt_keys(connection)
    check_receipt(document, keys)
    stage.narrator.claim(
        "It is signed with a key that the server publishes, and it is about this very recording."
    )
    await _check_gone(stage, connection, call_id, "It is not played any more")
    return keys[-1]


@step
async def check_offline(stage: Stage, key: str) -> None:
    """
    Check the receipt without the server.
    """
    await stage.command("receipt", "verify", "--key", key, _RECEIPT)
    receipt = stage.folder / _RECEIPT
    document = json.loads(receipt.read_text("utf-8"))
    document["receipt"]["epochs"] = {name: epoch + 1 for name, epoch in document["receipt"]["epochs"].items()}
    (stage.folder / "forged.json").write_text(json.dumps(document), "utf-8")
    forged = await stage.try_command("receipt", "verify", "--key", key, "forged.json")
    stage.check(
        forged.status == 1,
        "One changed number in it, and it is refused.",
        otherwise="a receipt with a changed number was verified",
    )


@step
async def restore_the_backup(stage: Stage, gateway: Gateway, backup: Backup) -> Gateway:
    """
    Restore the backup of before beside the keys of today.
    """
    await gateway.daemon.stop()
    stage.narrator.say(
        "The gateway is stopped. On another machine, say, its catalog and blobs are put back as they were before the "
        "call was erased; the key database and the root are those of now, for there must be no old ones."
    )
    put_together(
        stage.folder / _RESTORED,
        catalog=backup.catalog,
        blobs=backup.blobs,
        keys=gateway.data.path / "keys.db",
        root=gateway.data.root,
    )
    return await start_gateway(stage, _RESTORED)


@step
async def open_what_is_left(
    stage: Stage, connection: Connection, message_id: str, message: Sample, call_id: str
) -> None:
    """
    Open what the backup brought back.
    """
    stage.check(
        await _listen(connection, message_id) == message.content,
        "The other recording plays, and is what was uploaded.",
        otherwise="the other recording is not what was uploaded",
    )
    await _check_gone(stage, connection, call_id, "The erased call does not")


@step
async def go_round_the_catalog(
    stage: Stage, restored: Gateway, backup: Backup, expected: Mapping[str, Sample | None]
) -> None:
    """
    Go round the catalog: take the blobs of the backup and ask the key tree itself.
    """
    contents = (blob.read_bytes() for blob in each_blob(backup.blobs))
    blobs = {recording_of(sealed): sealed for sealed in contents}
    if blobs.keys() != expected.keys():
        raise StepFailed("the backup holds blobs of other recordings")
    for recording_id, sample in expected.items():
        plaintext = await open_blob(blobs[recording_id], restored.data)
        if sample is None:
            stage.check(
                plaintext is None,
                f"The blob of {recording_id}, {len(blobs[recording_id]):,} sealed bytes, is there; "
                "its key cannot be derived any more.",
                otherwise="the key of the erased call can still be derived",
            )
        else:
            stage.check(
                plaintext == sample.content,
                f"The blob of {recording_id} opens: {sample.size:,} bytes, the very file.",
                otherwise="the blob of the other recording does not open",
            )


@step
async def bring_back_the_old_keys(stage: Stage, restored: Gateway, backup: Backup) -> None:
    """
    Put the key database of before beside the root of today.
    """
    put_together(
        stage.folder / _TURNED_BACK,
        catalog=backup.catalog,
        blobs=backup.blobs,
        keys=backup.keys,
        root=restored.data.root,
    )
    refused = await stage.try_command("serve", "--data-dir", _TURNED_BACK, "--port", "0")
    stage.check(
        refused.status == 1 and "older than the root store" in refused.stderr,
        "The gateway refuses: the root that opened those keys is destroyed, and with it the call is gone for good.",
        otherwise="the gateway did not refuse the key database of before",
    )


def _show_that_it_finds(stage: Stage, windows: Windows, call: Sample, on_disk: Mapping[Path, bytes]) -> None:
    """
    Show that the search would find what it does not find.
    """
    found = sum(1 for _ in windows.offsets_in(call.content))
    stage.check(
        found > 0.9 * call.size,
        f"The search works: in the call's own file it strikes at {found:,} places.",
        otherwise=f"the search strikes at only {found:,} places of the call's own file",
    )
    catalog = on_disk[stage.folder / _FIRST / "catalog.db"]
    somewhere = len(catalog) // 2 + 5
    planted = bytearray(catalog)
    planted[somewhere : somewhere + WINDOW] = call.content[100_000 : 100_000 + WINDOW]
    stage.check(
        somewhere in windows.offsets_in(bytes(planted)),
        f"And {WINDOW} bytes of it, hidden in a copy of catalog.db at byte {somewhere:,}, are found there.",
        otherwise=f"{WINDOW} bytes hidden in a copy of catalog.db were not found",
    )


async def _listen(connection: Connection, recording_id: str) -> bytes:
    async with connection.request("GET", f"/v1/recordings/{recording_id}/audio") as response:
        return await response.read()


async def _check_gone(stage: Stage, connection: Connection, recording_id: str, claim: str) -> None:
    try:
        await _listen(connection, recording_id)
    except RequestRefused as error:
        if error.status != 404:
            raise
        stage.narrator.claim(f"{claim} ({error}).")
    else:
        raise StepFailed(f"{recording_id} is still played")


def _place(trace: Trace | None, stage: Stage) -> str:
    return (
        "nowhere" if trace is None else f"in {trace.file.relative_to(stage.folder)} at byte {trace.offset:,}"
    )
