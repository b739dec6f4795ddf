"""
Erasing recordings at the server, and seeing to the receipts.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from gateway.cli.client.connection import CommandFailed, Connection, RequestRefused, connected
from gateway.cli.options import say
from gateway.cli.recordings import describe
from gateway.cli.terminal import local_time, printable
from gateway.keyring.errors import ReceiptInvalid
from gateway.keyring.receipts import verify_receipt

ErasureDocument = Mapping[str, Any]
"""How far an erasure has come, as the server tells it; `gateway.http.shapes` has the fields."""

_POLL_S: Final = 1.0
_PATIENCE_S: Final = 120.0


async def describe_recordings(server: str, token: str, ids: Sequence[str]) -> list[str]:
    """
    Say in a line each what is about to be erased.
    """
    lines = []
    async with connected(server, token) as connection:
        for recording_id in ids:
            try:
                recording = await connection.ask("GET", f"/v1/recordings/{recording_id}")
            except RequestRefused as error:
                if error.status != 404:
                    raise
                lines.append(f"{recording_id} (not there, or erased before)")
            else:
                lines.append(f"{recording_id} ({printable(describe(recording))})")
    return lines


async def erase_recordings(server: str, token: str, ids: Sequence[str], targets: Mapping[str, Path]) -> bool:
    """
    Erase one after the other and hand each receipt over; tell whether all are erased, with receipts that hold.

    A receipt goes to the file that *targets* has for its recording, else to standard output.
    """
    is_well = True
    async with connected(server, token) as connection:
        keys = await read_receipt_keys(connection)
        for recording_id in ids:
            try:
                document = await erase(connection, recording_id)
            except RequestRefused as error:
                if error.status != 404:
                    raise
                say(f"Error: {recording_id}: {error}")
                is_well = False
                continue
            _hand_over(document, targets.get(recording_id))
            try:
                check_receipt(document, keys)
            except ReceiptInvalid as error:
                say(f"Error: {recording_id}: it is erased, but the receipt does not hold: {error}")
                is_well = False
            else:
                say(_summary(document))
    return is_well


async def erase(connection: Connection, recording_id: str) -> ErasureDocument:
    """
    Erase the recording and return what the server says about it, once its key is shredded.

    Raises:
        RequestRefused: there is no such recording.
        CommandFailed: shredding takes too long; it goes on without us.
    """
    document = await connection.ask("DELETE", f"/v1/recordings/{recording_id}")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while document["receipt"] is None:
                await asyncio.sleep(_POLL_S)
                document = await connection.ask("GET", f"/v1/receipts/{recording_id}")
    except TimeoutError:
        raise CommandFailed(
            f"{recording_id} is no longer served, and not shredded yet; the same command asks for the receipt again"
        ) from None
    return document


async def read_receipt_keys(connection: Connection) -> list[str]:
    """
    Return the public keys that the server's receipts are signed with, as it writes them.
    """
    document = await connection.ask("GET", "/v1/receipt-keys")
    return [str(key) for key in document["keys"]]


def check_receipt(document: ErasureDocument, keys: Sequence[str]) -> None:
    """
    Return if what *document* carries is signed with one of *keys*, and is about the recording that it names.

    Raises:
        ReceiptInvalid: names what is wrong.
        CommandFailed: it cannot be told, because a part is missing.
    """
    try:
        public_keys = [base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)) for key in keys]
        salt = bytes.fromhex(document["salt"])
    except (binascii.Error, ValueError, TypeError):
        raise CommandFailed("the server's answer has no usable salt or keys") from None
    for statement in (document["receipt"], document["purge_receipt"]):
        if statement is not None:
            verify_receipt(statement, public_keys, subject_id=document["id"], salt=salt)


def _hand_over(document: ErasureDocument, target: Path | None) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if target is not None:
        try:
            with target.open("x", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError as error:
            # It is erased by now: the receipt must not get lost.
            say(f"{target} could not be written ({error.strerror}); here it is instead.")
        else:
            return
    click.echo(text)


def _summary(document: ErasureDocument) -> str:
    receipt = document["receipt"]
    epochs = receipt["epochs"]
    return (
        f"{document['id']}: erased {local_time(document['revoked_at'] or '')}; "
        f"its key is shredded (epoch {epochs['from']} to {epochs['to']}), "
        f"and the receipt is signed with key {receipt['key_id']}, which the server publishes"
    )
