"""
Beginning an upload: room for it, a leaf that nobody has, and its details sealed under that leaf.

Nothing is recorded here.
"""

import uuid

from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.base.secret import Secret
from gateway.catalog.uploads import Upload, count_open_uploads
from gateway.catalog.users import User
from gateway.database import Connection
from gateway.keyring import Keyring
from gateway.services.bodies import check_length
from gateway.services.details import Details, seal_details
from gateway.services.errors import TooManyUploads
from gateway.services.leaf_choice import UnusedLeaves
from gateway.services.receiving import check_room
from gateway.settings import Uploads as Limits
from gateway.spool import Spool


class NewUploads:
    """
    Makes them.
    """

    def __init__(
        self, keyring: Keyring, leaves: UnusedLeaves, spool: Spool, clock: Clock, limits: Limits
    ) -> None:
        self._keyring = keyring
        self._leaves = leaves
        self._spool = spool
        self._clock = clock
        self._limits = limits

    async def begin(
        self, user: User, *, length: int | None, details: Details, fence: int = 0
    ) -> tuple[Upload, Secret]:
        """
        Return an open upload without bytes, under *fence*, and its leaf.

        Raises:
            TooLong: *length* passes the operator's limit.
            OutOfRoom: the spool is full.
        """
        check_length(length, limit=self._limits.max_length)
        check_room(self._spool)
        slot = user.key_slot
        index = await self._leaves.next_index(slot)
        leaf = await self._keyring.leaf(slot, index)
        upload_id = RecordingId(uuid.uuid4())
        now = self._clock.now_ms()
        upload = Upload(
            id=upload_id,
            user_id=user.id,
            key_slot=slot,
            leaf_index=index,
            state="open",
            length=length,
            received=0,
            details=seal_details(details, leaf, recording_id=upload_id, slot=slot, index=index),
            created_at=now,
            expires_at=now + self._limits.unfinished_lifetime_s * 1000,
            fence=fence,
        )
        return upload, leaf

    async def refuse_too_many(self, connection: Connection, user: User) -> None:
        """
        Refuse one more unfinished upload of a user who has as many as he may.

        Raises:
            TooManyUploads: he has.
        """
        if await count_open_uploads(connection, user.id) >= self._limits.max_open_per_user:
            raise TooManyUploads(self._limits.max_open_per_user)
