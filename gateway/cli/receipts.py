"""
``gateway receipt``: checking what an erasure's receipt says, without asking anybody.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def receipt() -> None:
    """
    Verify receipts of erasures.
    """


@receipt.command("keys")
@installation_options
def keys(config: Path | None, data_dir: Path | None) -> None:
    """
    Print the public keys of this installation, one a line.
    """
    from gateway.http.shapes import format_key

    for key in run(_keys(load_settings(config, data_dir))):
        click.echo(format_key(key))


async def _keys(settings: Settings) -> list[bytes]:
    from gateway.console import open_console

    async with open_console(settings) as console:
        return await console.keyring.public_keys()


@receipt.command("verify")
@installation_options
@click.option(
    "--key",
    "key_texts",
    multiple=True,
    help="A public key, as `gateway receipt keys` prints it; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was verified as JSON.")
@click.argument("file", type=click.File("rb"))
def verify(
    config: Path | None, data_dir: Path | None, key_texts: tuple[str, ...], as_json: bool, file: Any
) -> None:
    """
    Check the receipt in FILE (what DELETE answered), offline with --key, else with this installation's keys.
    """
    from gateway.keyring.errors import ReceiptInvalid
    from gateway.keyring.receipts import verify_receipt

    document = _read(file)
    public_keys = [_read_key(text) for text in key_texts] or run(_keys(load_settings(config, data_dir)))
    envelope: dict[str, Any] = document if "receipt" in document else {"receipt": document}
    if not isinstance(envelope["receipt"], dict):
        raise click.ClickException("the erasure is not shredded yet: there is no receipt in this file")
    salt = envelope.get("salt")
    subject_id = envelope.get("id")
    about: dict[str, Any] = {}
    if salt and subject_id:
        about = {"subject_id": subject_id, "salt": bytes.fromhex(salt)}
    statements = [envelope["receipt"]]
    if isinstance(envelope.get("purge_receipt"), dict):
        statements.append(envelope["purge_receipt"])
    try:
        for statement in statements:
            verify_receipt(statement, public_keys, **about)
    except ReceiptInvalid as error:
        raise click.ClickException(f"the receipt does not hold: {error}") from error
    if as_json:
        click.echo(json.dumps(statements, indent=2, ensure_ascii=False))
    for statement in statements:
        say(f"Verified: {statement['statement']}.")
    if about:
        say(f"It is about {subject_id}.")
    else:
        say("Whom it is about was not checked: that takes the id and the salt.")


def _read(file: Any) -> dict[str, Any]:
    try:
        document = json.loads(file.read())
    except ValueError as error:
        raise click.ClickException(f"{file.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise click.ClickException(f"{file.name} holds no receipt")
    return document


def _read_key(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise click.BadParameter("is not base64url", param_hint="--key") from error
    if len(key) != 32:
        raise click.BadParameter("is not a key of 32 bytes", param_hint="--key")
    return key
