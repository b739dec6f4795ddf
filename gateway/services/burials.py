"""
Tombstones of all that somebody had, and of whatever is shredded already.
"""

from gateway.base.ids import UserId
from gateway.catalog import holds, recordings, uploads, users
from gateway.catalog.audit import forget_reasons_about
from gateway.catalog.disclosures import delete_disclosures_of
from gateway.catalog.expiries import Expiry, bury_expired
from gateway.catalog.exports import delete_exports_of, end_exports_by_leaves
from gateway.catalog.identities import look_up_generation, note_left
from gateway.catalog.jobs import enqueue_job, enqueue_jobs
from gateway.catalog.moves import stop_moves_of
from gateway.catalog.notices import forget_told
from gateway.catalog.routes import delete_route
from gateway.database import Connection
from gateway.keyring import ShreddedEntry


async def bury_all_of(connection: Connection, user_id: UserId, *, at: int) -> None:
    """
    Turn all that an erased user had into tombstones, with the work that follows from them.
    """
    await recordings.bury_recordings_of(connection, user_id, at=at)
    await uploads.bury_finished_uploads_of(connection, user_id)
    for upload_id in await uploads.open_uploads_of(connection, user_id):
        await uploads.end_upload(connection, upload_id, "terminated", expires_at=at)
        await enqueue_job(connection, "discard", str(upload_id))
    await holds.delete_holds_of(connection, user_id)
    await delete_exports_of(connection, user_id)
    await forget_reasons_about(connection, user_id)
    await delete_disclosures_of(connection, user_id)
    await delete_route(connection, user_id)
    await forget_told(connection, user_id)
    await stop_moves_of(connection, user_id, at=at)
    await enqueue_job(connection, "erase-account", user_id)


async def bury_shredded(connection: Connection, entry: ShreddedEntry, *, at: int) -> int:
    """
    Turn what the key database says is shredded into tombstones, where the catalog does not know; return how many rows changed.
    """
    if entry.kind == "service-key":
        return 0
    if entry.kind == "account":
        user = await users.get_user_of_slot(connection, entry.slot)
        if user is None:
            # He came after this catalog was made, and was found by today's look-up key.
            await note_left(connection, await look_up_generation(connection))
        if user is None or not user.is_active:
            return 0
        await users.erase_user(connection, user.id, at=at)
        await bury_all_of(connection, user.id, at=at)
        return 1
    assert entry.first is not None
    assert entry.last is not None
    if entry.kind == "export":
        ended = await end_exports_by_leaves(connection, entry.slot, entry.first, entry.last, at=at)
        if ended:
            await enqueue_jobs(connection, "end-export", ended)
        return len(ended)
    live = await recordings.find_live_by_leaves(connection, entry.slot, entry.first, entry.last)
    if live and entry.kind == "recordings":
        owner = await users.get_user_of_slot(connection, entry.slot)
        assert owner is not None  # They are his.
        expiry = Expiry(owner.id, entry.slot, entry.first, entry.last, at)
        await bury_expired(connection, [expiry])
        await enqueue_job(connection, "expire", expiry.id)
    elif live:
        await recordings.bury_recordings(connection, live, at=at)
        await uploads.bury_finished_uploads(connection, live)
        await enqueue_jobs(connection, "erase", [str(recording_id) for recording_id in live])
    changed = len(live)
    for upload_id in await uploads.find_open_by_leaves(connection, entry.slot, entry.first, entry.last):
        changed += await uploads.end_upload(connection, upload_id, "terminated", expires_at=at)
        await enqueue_job(connection, "discard", str(upload_id))
    return changed
