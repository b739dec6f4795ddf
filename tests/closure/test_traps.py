"""
Each way in which deletion is known to go wrong, planted in the product; the attacker must notice every one.

A story that nothing was planted in keeps all its promises, so it is the trap that is noticed and nothing else.
"""

import inspect
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from gateway.base.errors import RefusesToServe
from gateway.base.ids import SERVICE_SLOT, USER_LEAF, Epoch, KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.catalog.exports import Export as ExportRow
from gateway.catalog.recordings import RecordingRow
from gateway.catalog.tables import uploads
from gateway.crypto.ggm import GgmState
from gateway.crypto.wrap import open_record, seal_record
from gateway.keyring import Acknowledgement, FileRootStore, Keyring, Receipt, ShredRequest, pages, rekeying
from gateway.keyring.errors import RootMissing
from gateway.keyring.file_roots import FileRootStore as Store
from gateway.keyring.indexes import IndexBlocks
from gateway.keyring.pages import Page, Place, SealedNode, associated_data, fresh_key, seal_node
from gateway.keyring.rounds import Rounds
from gateway.keyring.rows import Rows, write_nodes
from gateway.keyring.tree import Tree
from gateway.services.export_contents import ExportContents
from gateway.services.export_sealing import ExportKeys, Kept
from gateway.services.exports import ExportService
from tests.closure.programs import (
    AddUser,
    CopyCatalog,
    DieAt,
    DoJobs,
    Edit,
    EndExport,
    Erase,
    EraseAccount,
    Export,
    GrowOld,
    Leave,
    PutOldCatalogBack,
    ReplaceLookUps,
    Restart,
    Step,
    Upload,
)
from tests.closure.world import Lost, Reached, World

LIFE: tuple[Step, ...] = (
    AddUser(),
    AddUser(),
    Upload(0, 700),
    Upload(0, 20000),
    Upload(0, 1),
    Upload(1, 700),
    DoJobs(),
    Erase((0,)),
    Edit(0, 1),
    Erase((0,)),
    EraseAccount(1),
)
CUT_SHORT: tuple[Step, ...] = (
    AddUser(),
    Upload(0, 700),
    Upload(0, 700),
    Upload(0, 700),
    DieAt("2-before-commit"),
    Erase((0,)),
    Erase((0,)),
)
EXPORTED: tuple[Step, ...] = (
    AddUser(),
    Upload(0, 700),
    Upload(0, 20000),
    Export(0),
    CopyCatalog(),
    Erase((0,)),
    Export(0),
    EndExport(0),
    PutOldCatalogBack(),
    DoJobs(),
)
RESTORED: tuple[Step, ...] = (
    AddUser(),
    Upload(0, 700),
    CopyCatalog(),
    Upload(0, 700),
    PutOldCatalogBack(),
    # What is left of a block is burnt; without that it would be the same index again.
    Upload(0, 700),
)
GROWN_OLD: tuple[Step, ...] = (
    AddUser(),
    AddUser(),
    Upload(0, 700),
    Upload(0, 20000, pieces=2),
    Upload(0, 1),
    Upload(1, 700),
    DoJobs(),
    GrowOld(200),
    Upload(0, 700),
    GrowOld(200),
)
FORGOTTEN: tuple[Step, ...] = (
    AddUser(),
    AddUser(),
    Upload(0, 700),
    Upload(1, 700),
    Leave(1),
    ReplaceLookUps(),
    Upload(0, 1),
)


async def tell(world: World, story: Sequence[Step]) -> None:
    for step in story:
        await world.survive(partial(step.take, world))


@pytest.mark.parametrize(
    "story",
    [LIFE, CUT_SHORT, EXPORTED, RESTORED, GROWN_OLD, FORGOTTEN],
    ids=["life", "cut short", "exported", "restored", "grown old", "forgotten"],
)
async def test_without_a_trap_every_promise_is_kept(world: World, story: Sequence[Step]) -> None:
    await tell(world, story)
    await world.check(exhaustive=True)


async def test_an_export_that_seals_what_it_knows_of_a_recording_under_its_own_key_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The export lives on when the recording is erased.
    """

    def seal(self: ExportKeys, kept: Kept, recording: RecordingRow, recording_leaf: Secret) -> bytes:
        return seal_record(self._key, msgspec.json.encode(kept), self._entry_data(recording))

    def open_it(self: ExportKeys, sealed: bytes, recording: RecordingRow, recording_leaf: Secret) -> Kept:
        return msgspec.json.decode(open_record(self._key, sealed, self._entry_data(recording)), type=Kept)

    monkeypatch.setattr(ExportKeys, "seal_entry", seal)
    monkeypatch.setattr(ExportKeys, "open_entry", open_it)
    await tell(world, EXPORTED)
    with pytest.raises(Reached, match="an export"):
        await world.check()


async def test_an_export_that_is_sealed_under_a_key_which_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The account lives on when the export ends.
    """

    async def keys_of(self: ExportContents, export: ExportRow) -> ExportKeys:
        return ExportKeys(export, await self._keyring.leaf(export.key_slot, USER_LEAF))

    monkeypatch.setattr(ExportContents, "keys_of", keys_of)
    await tell(world, EXPORTED)
    with pytest.raises(Reached, match="an export"):
        await world.check()


async def test_an_export_that_is_not_shredded_when_it_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def note_only(self: ExportService, export_id: str) -> None:
        world.receipted.add(export_id)

    monkeypatch.setattr(ExportService, "shred", note_only)
    await tell(world, EXPORTED)
    with pytest.raises(Reached, match="an export"):
        await world.check()


async def test_a_pending_root_that_is_used_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The tree of the aborted round opens with it, and in that tree what is erased now was not erased yet.
    """

    async def use_pending(self: Rounds, epoch: Epoch) -> tuple[Secret, Secret]:
        try:
            return await self._roots.read(Epoch(epoch - 1)), await self._roots.read(epoch)
        except RootMissing:
            return await put_fresh(self, epoch)

    async def spare_pending(self: FileRootStore, epoch: Epoch) -> Acknowledgement:
        return Acknowledgement(()) if epoch == max(await self.epochs()) else await destroy(self, epoch)

    put_fresh, destroy = Rounds._put_fresh_root, FileRootStore.destroy
    monkeypatch.setattr(Rounds, "_put_fresh_root", use_pending)
    monkeypatch.setattr(FileRootStore, "destroy", spare_pending)
    await tell(world, CUT_SHORT)
    with pytest.raises(Reached):
        await world.check()


async def test_the_same_root_for_the_next_epoch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def put_same(self: Rounds, epoch: Epoch) -> tuple[Secret, Secret]:
        root = await self._roots.read(Epoch(epoch - 1))
        await self._roots.put(epoch, root)
        return root, root

    monkeypatch.setattr(Rounds, "_put_fresh_root", put_same)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


@pytest.mark.parametrize("missed", ["all but the first", "the last", "the one in the middle"])
async def test_an_expiry_that_leaves_a_leaf_of_its_range(
    world: World, monkeypatch: pytest.MonkeyPatch, missed: str
) -> None:
    def puncture_some(self: GgmState, first: LeafIndex, last: LeafIndex | None = None) -> GgmState:
        if last is None or last == first:
            return puncture(self, first, last)
        if missed == "all but the first":
            return puncture(self, first, first)
        if missed == "the last":
            return puncture(self, first, LeafIndex(last - 1))
        return puncture(puncture(self, first, first), LeafIndex(first + 2), last)

    puncture = GgmState.puncture
    await tell(world, GROWN_OLD[:-1])
    monkeypatch.setattr(GgmState, "puncture", puncture_some)
    await tell(world, GROWN_OLD[-1:])
    with pytest.raises(Reached):
        await world.check()


@pytest.mark.parametrize("depth", range(1, 5))
async def test_a_node_of_the_path_that_keeps_its_key(
    world: World, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """
    One page, or the state itself, is enough.
    """

    def fresh_or_kept() -> Secret:
        caller = inspect.currentframe()
        assert caller is not None
        assert caller.f_back is not None
        walk = caller.f_back.f_locals
        kept = walk["entry_key"]
        assert isinstance(kept, Secret)
        return kept if walk["place"].depth == depth - 1 else fresh_key()

    monkeypatch.setattr(rekeying, "fresh_key", fresh_or_kept)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


async def test_old_roots_kept_under_new_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As somebody would who wants to read backups.
    """

    def rekey_and_keep(*arguments: Any, root: Secret, fresh_root: Secret, **places: Any) -> rekeying.Rekeyed:
        rekeyed = rekeying.rekey(*arguments, root=root, fresh_root=fresh_root, **places)
        rekeyed.nodes.append(
            seal_node(
                Page.of([(0, root)]),
                fresh_root,
                tree_id=places["tree_id"],
                place=Place(0, places["epoch"]),
                epoch=places["epoch"],
            )
        )
        return rekeyed

    monkeypatch.setattr("gateway.keyring.rounds.rekey", rekey_and_keep)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


@pytest.mark.parametrize("where", ["beside the data", "in the key tree"])
async def test_a_second_wrap_under_a_key_that_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """
    For recovery, or for an administrator; wherever that key is.
    """
    if where == "beside the data":
        recovery = fresh_key()
        (world.data_dir / "recovery.key").write_bytes(recovery.reveal())
    else:
        recovery = await world.context.keyring.service_key("recovery")
    wraps: list[tuple[int, int, bytes]] = []

    def seal_twice(
        node: Page | GgmState, key: Secret, *, tree_id: bytes, place: Place, epoch: Epoch
    ) -> SealedNode:
        if isinstance(node, GgmState) and place.first_slot != SERVICE_SLOT:
            wrapped = seal_record(recovery, node.to_bytes(), associated_data(tree_id, place, epoch))
            wraps.append((place.first_slot, epoch, wrapped))
        return seal_node(node, key, tree_id=tree_id, place=place, epoch=epoch)

    async def write_twice(connection: Any, nodes: Sequence[SealedNode], *, over: Rows) -> None:
        await write_nodes(connection, nodes, over=over)
        await connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS recovery (slot, epoch, sealed)")
        for wrap in wraps:
            await connection.exec_driver_sql(
                "INSERT INTO recovery (slot, epoch, sealed) VALUES (?, ?, ?)", wrap
            )
        wraps.clear()

    for module in ("tree", "rekeying"):
        monkeypatch.setattr(f"gateway.keyring.{module}.seal_node", seal_twice)
    for module in ("tree", "rounds"):
        monkeypatch.setattr(f"gateway.keyring.{module}.write_nodes", write_twice)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


async def test_a_stale_process_that_saves_what_it_remembers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: dict[Place, GgmState] = {}

    def open_remembered(row: SealedNode | None, key: Secret, *, tree_id: bytes, place: Place) -> GgmState:
        state = open_state(row, key, tree_id=tree_id, place=place)
        return remembered.setdefault(place, state)

    open_state = pages.open_state
    monkeypatch.setattr(rekeying, "open_state", open_remembered)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


async def test_a_copy_of_the_root_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As of a backup, or of a program that replaces files by renaming.
    """

    async def put_beside_a_copy(self: FileRootStore, epoch: Epoch, key: Secret) -> None:
        shutil.copy(world.data_dir / "root" / "slots", world.data_dir / "root" / "slots.old")
        await put(self, epoch, key)

    put = FileRootStore.put
    monkeypatch.setattr(FileRootStore, "put", put_beside_a_copy)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


async def test_a_root_of_which_only_the_header_is_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite_header(self: FileRootStore, fd: int | None, number: int, content: bytes) -> None:
        if any(content):
            overwrite(self, fd, number, content)
        else:
            with (world.data_dir / "root" / "slots").open("r+b") as slots:
                slots.seek(number * 4096)
                slots.write(bytes(16))

    overwrite = FileRootStore._overwrite
    monkeypatch.setattr(FileRootStore, "_overwrite", overwrite_header)
    await tell(world, [AddUser(), Upload(0, 1), Erase((0,))])
    with pytest.raises(Reached):
        await world.check()


async def test_a_receipt_before_the_old_root_is_destroyed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In the end all is well; only the receipt came too early.
    """
    waiting: list[Epoch] = []

    async def acknowledge(self: FileRootStore, epoch: Epoch) -> Acknowledgement:
        waiting.append(epoch)
        return Acknowledgement(())

    async def finish_then_destroy(self: Rounds) -> Mapping[str, Receipt]:
        receipts = await finish(self)
        for epoch in waiting:
            await destroy(Store(world.data_dir / "root"), epoch)
        waiting.clear()
        return receipts

    finish, destroy = Rounds._finish, FileRootStore.destroy
    monkeypatch.setattr(FileRootStore, "destroy", acknowledge)
    monkeypatch.setattr(Rounds, "_finish", finish_then_destroy)
    await tell(world, LIFE)
    loot = world.attack()
    assert [] == [subject for subject in world.receipted if world.ways_to(loot, subject)]
    with pytest.raises(Reached, match="gets a receipt"):
        await world.check()


async def test_an_index_that_is_used_again_after_an_old_catalog_came_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One key then opens two recordings, so it can be destroyed for neither.
    """

    async def next_by_catalog(self: IndexBlocks, slot: KeySlot) -> LeafIndex:
        async with world.context.catalog.read() as connection:
            highest = select(func.max(uploads.c.leaf_index)).where(uploads.c.key_slot == slot)
            found = (await connection.execute(highest)).scalar_one()
        return LeafIndex(0 if found is None else found + 1)

    monkeypatch.setattr(IndexBlocks, "next_index", next_by_catalog)
    await tell(world, RESTORED)
    with pytest.raises(Reached, match="one key opens"):
        await world.check()


async def test_a_slot_that_keeps_its_key_for_the_next_user(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: dict[Place, dict[int, Secret]] = {}

    def open_and_note(row: SealedNode | None, key: Secret, *, tree_id: bytes, place: Place) -> Page:
        page = open_page(row, key, tree_id=tree_id, place=place)
        entries[place] = dict(page.entries())
        return page

    def seal_all_entries(self: Any, page: Page, key: Secret, place: Place) -> None:
        seal(self, Page.of({**entries[place], **dict(page.entries())}.items()), key, place)

    open_page, seal = pages.open_page, rekeying._Rewriting._seal
    monkeypatch.setattr(rekeying, "open_page", open_and_note)
    monkeypatch.setattr(rekeying._Rewriting, "_seal", seal_all_entries)
    await tell(world, LIFE)
    with pytest.raises(Reached):
        await world.check()


async def test_a_user_who_moved_to_another_slot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Erasing re-keys the way to where he is now; the way to where he was stays open.
    """
    await tell(world, [AddUser(), Upload(0, 700), Upload(0, 700)])
    old = KeySlot(1)
    state = await world.context.keyring._tree.state(old)
    with monkeypatch.context() as patch:
        patch.setattr(GgmState, "fresh", lambda: state)
        new = await world.context.keyring.add_slot()

    async def state_where_he_is(self: Tree, slot: KeySlot) -> GgmState:
        return await read_state(self, new if slot == old else slot)

    async def shred_where_he_is(self: Keyring, requests: Sequence[ShredRequest]) -> list[Receipt | Exception]:
        return await shred_all(
            self,
            [replace(request, slot=new) if request.slot == old else request for request in requests],
        )

    read_state, shred_all = Tree.state, Keyring.shred_all
    monkeypatch.setattr(Tree, "state", state_where_he_is)
    monkeypatch.setattr(Keyring, "shred_all", shred_where_he_is)
    await tell(world, [Erase((0,)), Restart()])
    with pytest.raises(Reached):
        await world.check()


async def test_a_root_destroyed_before_the_new_tree_is_durable(
    world: World, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The opposite of all other traps: it loses everything. Nobody goes on as if nothing had happened.
    """

    async def put_and_destroy(self: Rounds, epoch: Epoch) -> tuple[Secret, Secret]:
        roots = await put_fresh(self, epoch)
        await self._roots.destroy(Epoch(epoch - 1))
        return roots

    put_fresh = Rounds._put_fresh_root
    monkeypatch.setattr(Rounds, "_put_fresh_root", put_and_destroy)
    with pytest.raises(RefusesToServe):
        await tell(world, CUT_SHORT)
    # Whoever draws a new root over it, as the gateway never does, finds nothing that opens.
    (world.data_dir / "root" / "slots").unlink()
    shutil.copy(empty / "keys.db", world.data_dir / "keys.db")
    await world.open()
    with pytest.raises(Lost):
        await world.check()
