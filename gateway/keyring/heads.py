"""
Signed heads of logs that lie elsewhere: how far a log had come, and the hash of its newest entry then.

They are kept in the key database, which cannot be put back as the catalog can: a log that was cut shows beside them.
FORMAT §8.3 gives the document.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.crypto.signing import SigningKey
from gateway.database import insert_or_ignore
from gateway.keyring.errors import HeadInvalid, ReceiptInvalid
from gateway.keyring.receipts import canonical, check_signature, signed
from gateway.keyring.tables import log_heads

_FORMAT: Final = "recording-gateway-log-head"
_VERSION: Final = 1
_FIELDS: Final = frozenset(
    {"format", "version", "log", "sequence", "hash", "signed_at_ms", "key_id", "signature"}
)
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LogHead:
    """
    A signed head; *document* is all of it, signature included.
    """

    document: dict[str, Any]

    @property
    def log(self) -> str:
        return str(self.document["log"])

    @property
    def sequence(self) -> int:
        return int(self.document["sequence"])

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.document["hash"])

    @property
    def signed_at_ms(self) -> int:
        return int(self.document["signed_at_ms"])

    def check(self, public_keys: Sequence[bytes]) -> None:
        """
        Return if the holder of one of *public_keys* signed it.

        Raises:
            HeadInvalid: nobody of them did.
        """
        try:
            check_signature(self.document, public_keys)
        except ReceiptInvalid as error:
            raise HeadInvalid(f"the head of entry {self.sequence} is not as it was signed") from error


def sign_head(log: str, sequence: int, digest: bytes, *, signed_at_ms: int, key: SigningKey) -> LogHead:
    """
    Sign that *log* has come to entry *sequence*, whose hash is *digest*.
    """
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "log": log,
        "sequence": sequence,
        "hash": digest.hex(),
        "signed_at_ms": signed_at_ms,
    }
    return LogHead(signed(facts, key))


def read_head_document(document: object) -> LogHead:
    """
    Return a head as somebody kept it; its signature is still to be checked.

    Raises:
        HeadInvalid: it is none.
    """
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise HeadInvalid("this is no signed head of a log: its fields are others")
    numbers = [document["sequence"], document["signed_at_ms"]]
    texts = [document["log"], document["hash"], document["key_id"], document["signature"]]
    if (document["format"], document["version"]) != (_FORMAT, _VERSION):
        raise HeadInvalid("this is no signed head of a log that this program knows")
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise HeadInvalid("this head has no number, or no time")
    if not all(isinstance(text, str) for text in texts) or _HASH.fullmatch(document["hash"]) is None:
        raise HeadInvalid("this head has a field that is no text, or no hash")
    return LogHead(document)


async def insert_head_of(connection: AsyncConnection, head: LogHead) -> None:
    """
    Keep *head*; one of the same entry that is there already stays.
    """
    await connection.execute(
        insert_or_ignore(log_heads, connection.dialect.name).values(
            log=head.log, sequence=head.sequence, document=canonical(head.document).decode()
        )
    )


async def find_newest_head(connection: AsyncConnection, log: str) -> LogHead | None:
    """
    Return the newest head of *log*.
    """
    query = (
        select(log_heads.c.document)
        .where(log_heads.c.log == log)
        .order_by(log_heads.c.sequence.desc())
        .limit(1)
    )
    found = (await connection.execute(query)).scalar_one_or_none()
    return None if found is None else LogHead(json.loads(found))


async def find_heads(connection: AsyncConnection, log: str) -> list[LogHead]:
    """
    Return every head of *log*, oldest first.
    """
    query = select(log_heads.c.document).where(log_heads.c.log == log).order_by(log_heads.c.sequence)
    return [LogHead(json.loads(found)) for found in (await connection.execute(query)).scalars()]
