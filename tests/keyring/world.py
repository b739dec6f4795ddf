"""
One installation of the keyring, as its tests see it: a key database, a file root store, and ways to hurt both.
"""

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.base.ids import Epoch, KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.database import Database, migrate
from gateway.keyring import (
    Acknowledgement,
    FileRootStore,
    Keyring,
    PurgeState,
    RootStore,
    ShredRequest,
    subject_hash,
)
from gateway.keyring.tables import metadata
from tests.keyring.attacker import Attacker
from tests.support.clock import FakeClock

SALT = b"a salt of the user's"

STEPS = [
    "1-root-put",
    "2-before-commit",
    "2-committed",
    "3-read-back",
    "4-destroyed",
    "5-before-commit",
    "5-shredded",
]


class Fault(Exception):
    """
    Something outside fails, as a full disk or a lost connection does.
    """


class Steps:
    """
    Notes each step of a round, and fails or waits at one of them if told to.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {}

    async def __call__(self, step: str) -> None:
        self.seen.append(step)
        if action := self._actions.pop(step, None):
            await action()

    def at(self, step: str, action: Callable[[], Awaitable[None]]) -> None:
        """
        Do *action* when *step* is next reached.
        """
        self._actions[step] = action

    def fail_at(self, step: str, error: BaseException) -> None:
        async def fail() -> None:
            raise error

        self.at(step, fail)

    @property
    def rounds(self) -> int:
        return self.seen.count("2-committed")


class World:
    """
    An installation that may be opened, crashed, copied and opened again.
    """

    def __init__(self, database: Database, folder: Path, clock: FakeClock) -> None:
        self.database = database
        self.folder = folder
        self.clock = clock
        self.roots: RootStore = FileRootStore(folder / "root")
        self.steps = Steps()
        self.attacker = Attacker(folder / "root" / "slots", folder / "notebook")
        self.attacker.listen_to(database.sync_engine)
        self._numbers = itertools.count(1)

    async def open(self, **options: Any) -> Keyring:
        return await Keyring.open(self.database, self.roots, self.clock, on_step=self.steps, **options)

    async def attach(self, **options: Any) -> Keyring:
        return await Keyring.attach(self.database, self.roots, self.clock, **options)

    async def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """
        Do what an operator at a database prompt could.
        """
        async with self.database.write() as connection:
            result = await connection.exec_driver_sql(statement, parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    async def epoch(self) -> int:
        [[epoch]] = await self.sql("SELECT epoch FROM tree_head")
        return int(epoch)

    async def copy_tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """
        Make a backup of the key database, on either engine.
        """
        return {table: await self.sql(f"SELECT * FROM {table}") for table in TABLES}

    async def put_back(self, copy: dict[str, list[tuple[Any, ...]]]) -> None:
        """
        Restore such a backup.
        """
        for table, rows in copy.items():
            await self.sql(f"DELETE FROM {table}")
            for row in rows:
                marks = (
                    ", ".join("?" * len(row))
                    if self.database.dialect == "sqlite"
                    else ", ".join(f"${number}" for number in range(1, len(row) + 1))
                )
                await self.sql(f"INSERT INTO {table} VALUES ({marks})", *row)

    def recording(
        self, slot: KeySlot, first: int, last: int | None = None, subject_id: str | None = None
    ) -> ShredRequest:
        """
        Ask for one recording, or for several in a row.
        """
        subject_id = subject_id or f"recording-{next(self._numbers)}"
        return ShredRequest(
            subject_id=subject_id,
            kind="recording",
            slot=slot,
            first=LeafIndex(first),
            last=LeafIndex(first if last is None else last),
            revoked_at_ms=self.clock.now_ms(),
            subject_hash=subject_hash(subject_id, SALT),
            commitment=bytes(range(32)),
            placements=(PurgeState("home", "pending", None),),
        )

    def account(self, slot: KeySlot, subject_id: str | None = None) -> ShredRequest:
        subject_id = subject_id or f"user-{next(self._numbers)}"
        return ShredRequest(
            subject_id=subject_id,
            kind="account",
            slot=slot,
            first=None,
            last=None,
            revoked_at_ms=self.clock.now_ms(),
            subject_hash=subject_hash(subject_id, SALT),
            commitment=None,
        )


TABLES = list(metadata.tables)


class FaultyRoots:
    """
    A root store before which things happen, or go wrong.
    """

    def __init__(self, store: RootStore) -> None:
        self._store = store
        self.before: dict[str, Callable[[Epoch], Awaitable[None]]] = {}
        self.after: dict[str, Callable[[Epoch], Awaitable[None]]] = {}
        self.calls: list[tuple[str, int]] = []

    @property
    def label(self) -> str:
        return self._store.label

    async def put(self, epoch: Epoch, key: Secret) -> None:
        await self._before("put", epoch)
        await self._store.put(epoch, key)

    async def read(self, epoch: Epoch) -> Secret:
        await self._before("read", epoch)
        root = await self._store.read(epoch)
        if happening := self.after.pop("read", None):
            await happening(epoch)
        return root

    async def destroy(self, epoch: Epoch) -> Acknowledgement:
        await self._before("destroy", epoch)
        return await self._store.destroy(epoch)

    async def epochs(self) -> list[Epoch]:
        return await self._store.epochs()

    async def _before(self, call: str, epoch: Epoch) -> None:
        self.calls.append((call, epoch))
        if happening := self.before.pop(call, None):
            await happening(epoch)


async def open_sqlite(folder: Path) -> Database:
    """
    Open the key database that a process of its own shares with the test.
    """
    database = await Database.connect(f"sqlite:///{folder}/keys.db")
    await migrate(database, "gateway.keyring.migrations")
    return database
