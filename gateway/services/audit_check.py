"""
Checking the whole audit log: that nothing in it was changed, taken away, put in or put elsewhere.

What cannot be seen: that the newest entries are gone, if no signed head that anybody kept is as new as they were.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.base.ids import UserId
from gateway.catalog import audit as catalog
from gateway.catalog.audit import Entry
from gateway.database import Database
from gateway.keyring import Keyring, LogHead
from gateway.keyring.errors import HeadInvalid
from gateway.services.audit import LOG, AuditLog
from gateway.services.audit_chain import FIRST_PREVIOUS, flaws_of
from gateway.services.errors import InvalidField

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Report:
    """
    What was found; a log that is whole has no *flaws*.
    """

    entries: int
    newest: int
    """The newest entry's number; 0 in an empty log."""
    heads: int
    """Signed heads that it was compared with."""
    signed_to: int
    """The newest entry that a signed head names: of those after it, nobody could tell that the last ones are gone."""
    flaws: tuple[str, ...]


class AuditCheck:
    """
    Reads all of it.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, audit: AuditLog) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._audit = audit

    async def run(self, *, pinned: Sequence[LogHead] = (), start: int = 1) -> Report:
        """
        Check every entry from number *start* on, against the signed heads that are kept here and those in *pinned*.

        Raises:
            InvalidField: there is no entry before *start* that it could follow.
        """
        flaws: list[str] = []
        heads = [*await self._keyring.log_heads(LOG), *pinned]
        wanted = self._signed(heads, await self._keyring.public_keys(), start, flaws)
        mac_key = await self._audit.mac_key()
        previous, last, entries = await self._before(start), start - 1, 0
        while found := await self._after(last):
            unexplained: list[Entry] = []
            for entry in found:
                if entry.sequence != last + 1:
                    flaws.append(_missing(last + 1, entry.sequence - 1))
                flaws += [f"entry {entry.sequence}: {flaw}" for flaw in flaws_of(entry, previous, mac_key)]
                for digest in wanted.pop(entry.sequence, ()):
                    if digest != entry.entry_hash:
                        flaws.append(f"entry {entry.sequence} is not the one that was signed")
                if entry.sealed is None and entry.sealed_hash is not None:
                    unexplained.append(entry)
                previous, last, entries = entry.entry_hash, entry.sequence, entries + 1
            flaws += await self._without_reason(unexplained)
        async with self._catalog.read() as connection:
            given = await catalog.given_sequence(connection)
        known = max([given, *wanted])
        if known > last:
            flaws.append(_missing(last + 1, known))
        flaws += [f"entry {sequence} was signed, and is not there" for sequence in sorted(wanted)]
        signed_to = max((head.sequence for head in heads), default=0)
        return Report(entries, last if entries else 0, len(heads), signed_to, tuple(flaws))

    def _signed(
        self, heads: Collection[LogHead], public_keys: Sequence[bytes], start: int, flaws: list[str]
    ) -> dict[int, set[bytes]]:
        wanted: dict[int, set[bytes]] = {}
        for head in heads:
            try:
                head.check(public_keys)
            except HeadInvalid as error:
                flaws.append(str(error))
                continue
            if head.log != LOG:
                flaws.append(f"a head is of another log, {head.log}")
            elif head.sequence >= start:
                wanted.setdefault(head.sequence, set()).add(head.digest)
        return wanted

    async def _before(self, start: int) -> bytes:
        if start == 1:
            return FIRST_PREVIOUS
        async with self._catalog.read() as connection:
            entry = await catalog.get_entry(connection, start - 1)
        if entry is None:
            raise InvalidField("from", f"there is no entry {start - 1} that this one could follow")
        return entry.entry_hash

    async def _after(self, sequence: int) -> list[Entry]:
        async with self._catalog.read() as connection:
            return await catalog.entries_after(connection, sequence, limit=_BATCH)

    async def _without_reason(self, entries: Sequence[Entry]) -> list[str]:
        """
        Say which reasons are gone although the keys of their users are not.
        """
        users = {UserId(entry.user_id) for entry in entries if entry.user_id is not None}
        if not users:
            return []
        async with self._catalog.read() as connection:
            active = await catalog.active_among(connection, users)
        return [
            f"entry {entry.sequence}: its reason was taken away"
            for entry in entries
            if entry.user_id in active
        ]


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
