"""
One run of ``gateway upload``: file after file, and what a person is told about each.
"""

import mimetypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from gateway.cli.client.connection import Connection, ConnectionLost, Patience, RequestRefused, connected
from gateway.cli.client.progress import shown_transfer
from gateway.cli.client.tus import SourceFile, UnusableFile, encode_metadata, finish_upload, start_upload
from gateway.cli.options import say
from gateway.cli.terminal import counted, printable

_MEDIA_TYPES: Final = {
    # What phones record in; what a machine's own tables say about these differs from one to the next.
    ".3gp": "audio/3gpp",
    ".aac": "audio/aac",
    ".amr": "audio/amr",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "audio/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}


async def upload_files(
    server: str, token: str, files: Sequence[Path], details: Mapping[str, str], secret: bytes
) -> bool:
    """
    Upload one file after the other and print the ids; tell whether all of them are recordings now.

    A file that fails does not keep the others back; a server that cannot be used does.

    Raises:
        ConnectionLost, RequestRefused: the server is away, or does not know the token.
    """
    are_all_there = True
    async with connected(server, token) as connection:
        for path in files:
            try:
                recording_id = await _upload_file(connection, path, details, secret)
            except (OSError, UnusableFile, RequestRefused) as error:
                if isinstance(error, RequestRefused) and error.status == 401:
                    raise
                reason = error.strerror if isinstance(error, OSError) else str(error)
                say(f"Error: {printable(path.name)}: {reason}")
                are_all_there = False
            except ConnectionLost:
                if connection.has_answered:
                    say(f"{printable(path.name)}: the same command goes on where this one ended")
                raise
            else:
                click.echo(recording_id)
    return are_all_there


def guess_media_type(path: Path) -> str | None:
    """
    Return the media type that the file's name speaks of.
    """
    return _MEDIA_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]


async def _upload_file(connection: Connection, path: Path, details: Mapping[str, str], secret: bytes) -> str:
    source = SourceFile.of(path)
    # A name that is no UTF-8 still names the file here; the server wants text.
    told = {"filename": os.fsencode(path.name).decode("utf-8", "replace"), **details}
    if media_type := guess_media_type(path):
        told["filetype"] = media_type
    name = printable(path.name)
    upload = await start_upload(
        connection, source, encode_metadata(told), secret, Patience(connection, tell=say)
    )
    if source.size and upload.offset == source.size:
        say(f"{name}: was uploaded before")
        return upload.id
    if upload.offset:
        say(f"{name}: going on at byte {upload.offset:,}")
    with shown_transfer(name, source.size) as transfer:
        patience = Patience(connection, tell=transfer.say)
        await finish_upload(connection, upload, source, observer=transfer, patience=patience)
        transfer.finish(f"{name}: {counted(source.size, 'byte')} uploaded")
    return upload.id
