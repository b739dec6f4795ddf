"""
The keyring: what the rest of the gateway knows of keys.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Self

from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.base.errors import RefusesToServe
from gateway.base.ids import SERVICE_SLOT, KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.errors import LeafPunctured
from gateway.crypto.wrap import require_aes_gcm_siv
from gateway.database import Database, DatabaseUnavailable
from gateway.keyring.errors import (
    LeafShredded,
    NotShredded,
    RootDamaged,
    RootMissing,
    RootStoreError,
    ShredRefused,
    TreeDamaged,
)
from gateway.keyring.founding import found
from gateway.keyring.group_commit import GroupCommit
from gateway.keyring.heads import LogHead, find_heads, find_newest_head, insert_head_of, sign_head
from gateway.keyring.indexes import IndexBlocks
from gateway.keyring.ledger import (
    append_receipts,
    find_entries,
    find_last_receipt,
    find_receipts,
    find_receipts_of,
    find_receipts_of_all,
    find_shredded_since,
)
from gateway.keyring.receipts import (
    SERVICE_KEY_SALT,
    Link,
    Receipt,
    placements_document,
    sign_purged,
    subject_hash,
)
from gateway.keyring.recovery import ROOT_STORE_ADVICE, refuse_mismatch
from gateway.keyring.requests import PurgeState, ShreddedEntry, ShredRequest
from gateway.keyring.roots import RootStore
from gateway.keyring.rounds import OnStep, Rounds
from gateway.keyring.rows import durable_write, read_head
from gateway.keyring.service_keys import RECEIPTS_PURPOSE, ServiceKeys
from gateway.keyring.tree import Tree

DEFAULT_BLOCK_SIZE = 1024
DEFAULT_CACHED_NODES = 1024
_MOST_PURGES = 256
"""How many purges are signed in one transaction."""


async def _no_step(step: str) -> None:
    pass


class Keyring:
    """
    Every user's keys, and how they are forgotten.

    Made by `open` or `attach`.
    Keys are derived at each request and not kept; what is cached is dropped as soon as any process shreds anything.
    """

    def __init__(
        self,
        database: Database,
        roots: RootStore,
        clock: Clock,
        *,
        block_size: int,
        cached_nodes: int,
        may_shred: bool,
        on_step: OnStep | None,
    ) -> None:
        self._database = database
        self._roots = roots
        self._clock = clock
        self._may_shred = may_shred
        self._on_step = on_step or _no_step
        self._tree = Tree(database, roots, cached_nodes=cached_nodes)
        self._indexes = IndexBlocks(database, block_size)
        self._service_keys = ServiceKeys(database, self._tree)
        self._rounds = Rounds(
            database,
            roots,
            self._tree,
            self._service_keys,
            clock,
            on_step=self._on_step,
            on_account_gone=self._indexes.forget,
        )
        self._group_commit = GroupCommit(self._rounds.shred)
        self._purges = Batches(self._record_purges, most=_MOST_PURGES, for_all=(DatabaseUnavailable,))

    @classmethod
    async def open(
        cls,
        db: Database,
        roots: RootStore,
        clock: Clock,
        *,
        block_size: int = DEFAULT_BLOCK_SIZE,
        cached_nodes: int = DEFAULT_CACHED_NODES,
        on_step: OnStep | None = None,
    ) -> Self:
        """
        Open the keyring for everything, after founding it or recovering a round that was cut short.

        On return the service's own keys were opened through the tree as it is now.
        One process at a time, the daemon, does this; others `attach`.
        *on_step* is awaited at each boundary of a round, with its name; what it raises cuts the round short there.

        Raises:
            RefusesToServe: serving would lose everything, or bring back what was shredded; carries the advice.
        """
        keyring = cls(
            db,
            roots,
            clock,
            block_size=block_size,
            cached_nodes=cached_nodes,
            may_shred=True,
            on_step=on_step,
        )
        require_aes_gcm_siv()
        try:
            await found(db, roots, on_step=keyring._on_step)
            await keyring._rounds.settle()
            await keyring._service_keys.signing_key()
        except (RootStoreError, TreeDamaged) as error:
            raise _refusal(error) from error
        return keyring

    @classmethod
    async def attach(
        cls,
        db: Database,
        roots: RootStore,
        clock: Clock,
        *,
        block_size: int = DEFAULT_BLOCK_SIZE,
        cached_nodes: int = DEFAULT_CACHED_NODES,
    ) -> Self:
        """
        Open the keyring beside a running daemon's: for reading and adding users, never for shredding or recovering.

        Raises:
            RefusesToServe: the key database and the root store do not belong together, or there is nothing in them.
        """
        keyring = cls(
            db,
            roots,
            clock,
            block_size=block_size,
            cached_nodes=cached_nodes,
            may_shred=False,
            on_step=None,
        )
        require_aes_gcm_siv()
        async with db.read() as connection:
            head = await read_head(connection)
        if head is None or head.epoch == 0:
            raise RefusesToServe(
                "There is no key tree yet.", advice="Start the daemon once; it makes the first one."
            )
        try:
            await keyring._tree.state(SERVICE_SLOT)
        except (RootStoreError, TreeDamaged) as error:
            if isinstance(error, RootMissing) and not isinstance(error, RootDamaged):
                refuse_mismatch(head.epoch, await roots.epochs())
            raise _refusal(error) from error
        return keyring

    async def add_slot(self) -> KeySlot:
        """
        Return a new user's slot, with fresh keys in it; durable on return.
        """
        return await self._tree.add_slot()

    async def next_index(self, slot: KeySlot) -> LeafIndex:
        """
        Return an index for the user's next recording, one that was never handed out and never will be again.

        Raises:
            UnknownSlot, SlotShredded: there is no such user.
            IndexesExhausted: he has used them all.
        """
        return await self._indexes.next_index(slot)

    async def leaf(self, slot: KeySlot, index: LeafIndex) -> Secret:
        """
        Derive the key of one recording.

        Raises:
            LeafShredded: it was shredded.
            UnknownSlot, SlotShredded: there is no such user.
        """
        state = await self._tree.state(slot)
        try:
            return state.leaf(index)
        except LeafPunctured:
            # The state that could tell how it came to this is gone, and so is any cause worth chaining.
            raise LeafShredded(slot, index) from None

    async def leaves(self, slot: KeySlot, indexes: Sequence[LeafIndex]) -> dict[LeafIndex, Secret]:
        """
        Derive the keys of many recordings of one user; those that were shredded are absent from the answer.

        Raises:
            UnknownSlot, SlotShredded: there is no such user.
        """
        state = await self._tree.state(slot)
        return {index: leaf for index, leaf in state.leaves(indexes) if leaf is not None}

    async def leaf_of_each(self, slots: Collection[KeySlot], index: LeafIndex) -> dict[KeySlot, Secret]:
        """
        Derive the key at *index* of each of *slots*; slots and leaves that were shredded are absent from the answer.

        Raises:
            UnknownSlot: there is no such user.
        """
        states = await self._tree.states(slots)
        leaves = ((slot, next(state.leaves([index]))[1]) for slot, state in states.items())
        return {slot: leaf for slot, leaf in leaves if leaf is not None}

    async def shred(self, request: ShredRequest) -> Receipt:
        """
        Make the keys of *request* underivable for good, and return the receipt once that is final.

        A subject that was shredded before gives its first receipt; one that waits already is joined.
        Requests that come while a round runs share the next one.
        After an error the request may be repeated: it either was not carried out or will be finished.

        Raises:
            UnknownSlot: there is no such user.
            ShredConflict: the subject was asked for before, as other leaves.
            TreeDamaged: its path in the key tree does not open.
            RootStoreError: the root store failed.
            ShredRefused: this keyring is attached, or closed.
        """
        [answer] = await self.shred_all([request])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def shred_all(self, requests: Sequence[ShredRequest]) -> list[Receipt | Exception]:
        """
        Shred each of *requests* as `shred` does, together; return for each, in their order, its receipt or its error.

        Raises:
            ShredRefused: this keyring is attached.
        """
        if not self._may_shred:
            raise ShredRefused("a keyring that is attached beside the daemon's does not shred")
        async with self._database.read() as connection:
            entries = await find_entries(connection, [request.subject_id for request in requests])
            numbers = [entry.receipt for entry in entries.values() if entry.receipt is not None]
            receipts = await find_receipts(connection, numbers) if numbers else {}

        async def answer(request: ShredRequest) -> Receipt | Exception:
            try:
                if (entry := entries.get(request.subject_id)) is not None:
                    entry.refuse_other_leaves(request)
                    if entry.receipt is not None:
                        return receipts[entry.receipt]
                return await self._group_commit.submit(request)
            except Exception as error:  # noqa: BLE001 - it is handed to whoever asked for this one
                return error

        return await asyncio.gather(*[answer(request) for request in requests])

    async def receipts_of(self, subject_id: str) -> list[Receipt]:
        """
        Return what was signed about a subject, oldest first: "shredded", then "purged".
        """
        async with self._database.read() as connection:
            return await find_receipts_of(connection, subject_id)

    async def shredded_since(self, sequence: int, limit: int) -> list[ShreddedEntry]:
        """
        Return up to *limit* lines of the shredding log after *sequence*, oldest first; 0 begins at the first.
        """
        async with self._database.read() as connection:
            return await find_shredded_since(connection, sequence, limit)

    async def record_purge(self, subject_id: str, purges: Sequence[PurgeState]) -> Receipt:
        """
        Sign that a shredded subject's blobs are removed from the backends, too.

        Said again with the same *purges*, it gives the receipt from before.

        Raises:
            NotShredded: there is no receipt yet that it could follow.
        """
        if any(purge.state == "pending" for purge in purges):
            raise ValueError("what is still pending is not purged")
        return await self._purges.submit((subject_id, purges))

    async def _record_purges(
        self, asked: Sequence[tuple[str, Sequence[PurgeState]]]
    ) -> list[Receipt | Exception]:
        signing_key = await self._service_keys.signing_key()
        answers: list[Receipt | Exception] = []
        signed: list[tuple[str, Receipt]] = []
        async with durable_write(self._database) as connection:
            await read_head(connection, lock=True)
            known = await find_receipts_of_all(connection, {subject_id for subject_id, _ in asked})
            last = await find_last_receipt(connection)
            for subject_id, purges in asked:
                before = known.get(subject_id)
                if before is None:
                    answers.append(NotShredded(f"{subject_id} has no receipt yet"))
                    continue
                latest = before[-1]
                if len(before) == 1 or latest.document["placements"] != placements_document(purges):
                    latest = sign_purged(
                        before[0], purges, self._clock.now_ms(), Link.after(last), signing_key
                    )
                    before.append(latest)
                    signed.append((subject_id, latest))
                    last = latest
                answers.append(latest)
            if signed:
                await append_receipts(connection, signed)
        return answers

    async def public_keys(self) -> list[bytes]:
        """
        Return the keys that receipts are checked with.
        """
        return [(await self._service_keys.signing_key()).public]

    async def sign_log_head(self, log: str, sequence: int, digest: bytes) -> LogHead:
        """
        Sign that the log named *log*, which lies elsewhere, has come to entry *sequence*, whose hash is *digest*; keep that.
        """
        signing_key = await self._service_keys.signing_key()
        head = sign_head(log, sequence, digest, signed_at_ms=self._clock.now_ms(), key=signing_key)
        async with durable_write(self._database) as connection:
            await insert_head_of(connection, head)
        return head

    async def newest_log_head(self, log: str) -> LogHead | None:
        """
        Return the newest of what was signed about a log.
        """
        async with self._database.read() as connection:
            return await find_newest_head(connection, log)

    async def log_heads(self, log: str) -> list[LogHead]:
        """
        Return all that was signed about a log, oldest first.
        """
        async with self._database.read() as connection:
            return await find_heads(connection, log)

    async def service_key(self, purpose: str) -> Secret:
        """
        Return the service's own key for *purpose*, the same after every restart.

        Raises:
            LeafShredded: it was shredded.
        """
        return await self._service_keys.leaf(purpose)

    async def had_service_key(self, purpose: str) -> bool:
        """
        Tell whether the service ever had a key for *purpose*, shredded or not.
        """
        return await self._service_keys.is_registered(purpose)

    async def shred_service_key(self, purpose: str) -> Receipt:
        """
        Make the service's own key for *purpose* underivable for good; the purpose has no key from then on.

        Raises:
            ValueError: *purpose* is the signing of receipts, without which nothing could be shredded any more.
            KeyringError: as `shred`.
        """
        if purpose == RECEIPTS_PURPOSE:
            raise ValueError("the key that signs receipts is not shredded")
        index = await self._service_keys.index(purpose)
        return await self.shred(
            ShredRequest(
                subject_id=purpose,
                kind="service-key",
                slot=SERVICE_SLOT,
                first=index,
                last=index,
                revoked_at_ms=self._clock.now_ms(),
                subject_hash=subject_hash(purpose, SERVICE_KEY_SALT),
                commitment=None,
            )
        )

    async def close(self) -> None:
        """
        Let a running round end, and drop every cached key. The database is its owner's to close.
        """
        await self._group_commit.close()
        await self._purges.close()
        self._tree.forget()


def _refusal(error: RootStoreError | TreeDamaged) -> RefusesToServe:
    if isinstance(error, TreeDamaged):
        return RefusesToServe(
            f"The key tree does not open: {error}.",
            advice="The key database and the root store are not of one installation, or the key database is damaged. "
            "Bring back the ones that were last in use together; nothing was changed.",
        )
    advice = ROOT_STORE_ADVICE if isinstance(error, RootMissing) else "Put that right and start again."
    return RefusesToServe(f"The root store cannot be used: {error}.", advice=advice)
