"""
Rounds of shredding: the five steps that make keys underivable for good, and what is done when they are cut short.

    1. draw a fresh root, put it into the root store as pending, read it back
    2. in one transaction: the touched paths rekeyed, the requests logged, the head moved from e to e+1
    3. read the root back once more and open the top page, and the signing key, with it
    4. destroy the root of e; its holders acknowledge
    5. in one transaction: receipts signed and chained, requests marked as finished; cached keys dropped

The order is the promise.
Destroying before the new tree is durable would lose everything; signing before destroying would be a lie.

Whoever needs the pending root to be there or gone decides it with the head locked: step 2 reads the root back from the
store inside its transaction, and clearing a pending root away happens inside one. So a process that was believed dead
cannot commit a tree whose root another one has just destroyed. This is the one place where the root store is called
inside a transaction, for that reason.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.base.clock import Clock
from gateway.base.ids import SERVICE_SLOT, Epoch, KeySlot
from gateway.base.secret import Secret
from gateway.crypto.keys import root_id
from gateway.database import Database
from gateway.keyring.errors import (
    KeyringError,
    RootExists,
    RootMissing,
    RootStoreFailed,
    RoundOvertaken,
    TreeDamaged,
    UnknownSlot,
)
from gateway.keyring.ledger import (
    LogEntry,
    append_receipts,
    find_entries,
    find_last_receipt,
    find_receipts,
    find_unfinished,
    log_requests,
    mark_finished,
)
from gateway.keyring.pages import fresh_key
from gateway.keyring.receipts import Link, Receipt, ShredFacts, sign_shredded
from gateway.keyring.recovery import refuse_damaged, refuse_mismatch
from gateway.keyring.rekeying import rekey
from gateway.keyring.requests import ShredRequest
from gateway.keyring.roots import Acknowledgement, RootStore
from gateway.keyring.rows import (
    Head,
    durable_write,
    move_head,
    read_head,
    read_pages,
    read_states,
    remove_slots,
    rewrite_head,
    write_nodes,
)
from gateway.keyring.service_keys import ServiceKeys
from gateway.keyring.tree import Tree, open_top_page

OnStep = Callable[[str], Awaitable[None]]
Answer = Receipt | Exception

_ATTEMPTS: Final = 5


class Rounds:
    """
    Carries out rounds, one at a time; the caller sees to that.
    """

    def __init__(
        self,
        database: Database,
        roots: RootStore,
        tree: Tree,
        service_keys: ServiceKeys,
        clock: Clock,
        *,
        on_step: OnStep,
        on_account_gone: Callable[[KeySlot], None],
    ) -> None:
        self._database = database
        self._roots = roots
        self._tree = tree
        self._service_keys = service_keys
        self._clock = clock
        self._on_step = on_step
        self._on_account_gone = on_account_gone
        self._is_settled = False

    async def shred(self, requests: Sequence[ShredRequest]) -> Mapping[str, Answer]:
        """
        Shred all *requests*, which have different subjects, in one round, and return each one's receipt or error.

        Subjects that have a receipt already get it again, without a round.
        If a step fails, its error is raised and nothing is half done that the next call does not settle first:
        the requests either were never logged, or are logged and will have receipts.
        """
        for attempt in range(_ATTEMPTS):
            if not self._is_settled:
                await self.settle()
            self._is_settled = False
            try:
                answers = await self._shred(requests)
            except RoundOvertaken:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            self._is_settled = True
            return answers
        raise AssertionError("unreachable")

    async def settle(self) -> None:
        """
        Finish or clear away what a round that was cut short has left. Cheap where there is nothing.

        Raises:
            RefusesToServe: the key database and the root store do not belong together.
        """
        async with durable_write(self._database) as connection:
            await self._agreed(connection)
            # The pending root is only as useless as the head that says so is durable.
            await rewrite_head(connection)
        async with durable_write(self._database) as connection:
            head, roots = await self._agreed(connection)
            # Never used again, and also when it is not listed: the rows that were sealed under it, and rolled back,
            # lie in the write-ahead log; and a put that was cut short may have left half of it.
            await self._roots.destroy(Epoch(head.epoch + 1))
            is_unfinished = bool(await find_unfinished(connection)) or min(roots) < head.epoch
        await self._on_step("0-pending-cleared")
        if is_unfinished:
            await self._finish()
        self._is_settled = True

    async def _agreed(self, connection: AsyncConnection) -> tuple[Head, list[Epoch]]:
        """
        Return the head, locked, and the epochs of the roots, having checked that the two belong together.
        """
        head = await read_head(connection, lock=True)
        roots = await self._roots.epochs()
        if head is None or head.epoch == 0:
            raise TreeDamaged("the key database was never founded")
        if head.epoch not in roots:
            await refuse_damaged(self._roots, head.epoch)
        refuse_mismatch(head.epoch, roots)
        return head, roots

    async def _shred(self, requests: Sequence[ShredRequest]) -> Mapping[str, Answer]:
        answers: dict[str, Answer] = {}
        async with self._database.read() as connection:
            head = await read_head(connection)
            logged = await find_entries(connection, [request.subject_id for request in requests])
        if head is None:
            raise TreeDamaged("the key database has no head")
        fresh: list[ShredRequest] = []
        for request in requests:
            if entry := logged.get(request.subject_id):
                try:
                    entry.refuse_other_leaves(request)
                except KeyringError as error:
                    answers[request.subject_id] = error
            elif request.slot >= head.next_slot:
                answers[request.subject_id] = UnknownSlot(request.slot)
            else:
                fresh.append(request)
        if fresh:
            damaged = await self._commit_epoch(head, fresh)
            answers |= {
                request.subject_id: damaged[request.slot] for request in fresh if request.slot in damaged
            }
            for request in fresh:
                if request.kind == "account" and request.slot not in damaged:
                    self._on_account_gone(request.slot)
        # Also where another process logged some of them and has not finished yet.
        if fresh or any(entry.receipt is None for entry in logged.values()):
            answers |= await self._finish()
        return {**answers, **await self._receipts_of(requests, besides=answers)}

    async def _commit_epoch(
        self, before: Head, requests: Sequence[ShredRequest]
    ) -> Mapping[KeySlot, TreeDamaged]:
        """
        Take steps 1 and 2; return the slots that could not be rekeyed, whose requests were not logged.
        """
        epoch = Epoch(before.epoch + 1)
        root, fresh_root = await self._put_fresh_root(epoch)
        await self._on_step("1-root-put")

        async with durable_write(self._database) as connection:
            head = await read_head(connection, lock=True)
            if head is None or head.epoch != before.epoch:
                raise RoundOvertaken(f"the key tree moved on from epoch {before.epoch}")
            if await find_entries(connection, [request.subject_id for request in requests]):
                raise RoundOvertaken("another process has logged one of these requests")
            await self._refuse_lost_root(epoch, fresh_root)
            slots = {request.slot for request in requests}
            rows = {**await read_pages(connection, slots), **await read_states(connection, slots)}
            rekeyed = rekey(
                requests, rows, tree_id=head.tree_id, epoch=epoch, root=root, fresh_root=fresh_root
            )
            carried_out = [request for request in requests if request.slot not in rekeyed.damaged]
            if not carried_out:
                raise next(iter(rekeyed.damaged.values()))
            await write_nodes(connection, rekeyed.nodes, over=rows)
            await remove_slots(connection, rekeyed.removed)
            await log_requests(connection, carried_out, epoch, root_id(root))
            await move_head(connection, to=epoch)
            await self._on_step("2-before-commit")
        await self._on_step("2-committed")
        return rekeyed.damaged

    async def _put_fresh_root(self, epoch: Epoch) -> tuple[Secret, Secret]:
        """
        Put a fresh root for *epoch* into the store; return the root that it replaces, and the fresh one.
        """
        try:
            root = await self._roots.read(Epoch(epoch - 1))
            fresh_root = fresh_key()
            await self._roots.put(epoch, fresh_root)
            read_back = await self._roots.read(epoch)
        except (RootMissing, RootExists) as error:
            raise RoundOvertaken(f"another process is at work on epoch {epoch}") from error
        if read_back != fresh_root:
            raise RootStoreFailed(f"the root of epoch {epoch} does not read back as it was put")
        return root, fresh_root

    async def _refuse_lost_root(self, epoch: Epoch, fresh_root: Secret) -> None:
        """
        Make sure, with the head locked, that the pending root is there and ours: from here nobody clears it away.
        """
        try:
            is_ours = await self._roots.read(epoch) == fresh_root
        except RootMissing:
            is_ours = False
        if not is_ours:
            raise RoundOvertaken(f"another process cleared the pending root of epoch {epoch} away")

    async def _finish(self) -> Mapping[str, Receipt]:
        """
        Take steps 3 to 5, for everything that is logged and has no receipt yet; return the receipts.
        """
        async with self._database.read() as connection:
            head = await read_head(connection)
            unfinished = await find_unfinished(connection)
            rows = await read_pages(connection, [SERVICE_SLOT])
        assert head is not None
        # Rows and root as the database and the store give them back now; no cache has a say in this.
        open_top_page(head, rows, await self._roots.read(head.epoch))
        # If the tree of now did not lead to the signing key, it is better to learn that while the old root is there.
        signing_key = await self._service_keys.signing_key()
        await self._on_step("3-read-back")

        # Roots below the head's lead to nothing that is in use: the head's epoch is durable and its tree opens.
        doomed = {Epoch(entry.epoch - 1) for entry in unfinished}
        doomed |= {epoch for epoch in await self._roots.epochs() if epoch < head.epoch}
        acknowledged = {epoch: await self._roots.destroy(epoch) for epoch in sorted(doomed)}
        shredded_at_ms = self._clock.now_ms()
        await self._on_step("4-destroyed")

        async with durable_write(self._database) as connection:
            await read_head(connection, lock=True)
            # Read again under the lock: another process may have given some of them their receipts.
            unfinished = await find_unfinished(connection)
            last = await find_last_receipt(connection)
            signed: list[tuple[str, Receipt]] = []
            for entry in unfinished:
                acknowledgement = acknowledged.get(Epoch(entry.epoch - 1))
                if acknowledgement is None:
                    continue
                facts = self._facts(entry, acknowledgement, shredded_at_ms)
                last = sign_shredded(facts, Link.after(last), signing_key)
                signed.append((entry.request.subject_id, last))
            if signed:
                await append_receipts(connection, signed)
                await mark_finished(connection, signed)
            await self._on_step("5-before-commit")
        self._tree.forget_before(head.epoch)
        await self._on_step("5-shredded")
        return dict(signed)

    def _facts(self, entry: LogEntry, acknowledgement: Acknowledgement, shredded_at_ms: int) -> ShredFacts:
        request = entry.request
        leaves = None if request.first is None or request.last is None else request.last - request.first + 1
        return ShredFacts(
            kind=request.kind,
            subject_hash=request.subject_hash,
            leaves=leaves,
            commitment=request.commitment,
            revoked_at_ms=request.revoked_at_ms,
            shredded_at_ms=shredded_at_ms,
            epoch=entry.epoch,
            destroyed_root=entry.destroyed_root,
            root_store_label=self._roots.label,
            acknowledgement=acknowledgement,
            placements=request.placements,
        )

    async def _receipts_of(
        self, requests: Sequence[ShredRequest], *, besides: Mapping[str, Answer]
    ) -> Mapping[str, Answer]:
        wanted = [request.subject_id for request in requests if request.subject_id not in besides]
        if not wanted:
            return {}
        async with self._database.read() as connection:
            entries = await find_entries(connection, wanted)
            numbers = [entry.receipt for entry in entries.values() if entry.receipt is not None]
            receipts = await find_receipts(connection, numbers)
        answers: dict[str, Answer] = {}
        for subject_id in wanted:
            entry = entries.get(subject_id)
            if entry is None or entry.receipt is None:
                raise RoundOvertaken(f"{subject_id} is being shredded by another process")
            answers[subject_id] = receipts[entry.receipt]
        return answers
