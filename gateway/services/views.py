"""
What the catalog has of a recording: its row, where it lies, and what of it is still in the spool.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.base.batches import Batches
from gateway.base.ids import RecordingId
from gateway.catalog.placements import Placement, placements_of_all
from gateway.catalog.recordings import RecordingRow, get_recordings
from gateway.catalog.uploads import Piece, pieces_of_all
from gateway.database import Database, Remembered

_MOST_AT_ONCE: Final = 100
_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class RecordingView:
    """
    All of it as it was at one moment; *recording* is its tombstone once it is erased, and None if it never was.
    """

    recording: RecordingRow | None
    placements: Sequence[Placement]
    pieces: Sequence[Piece]


class RecordingViews:
    """
    Looks; what is asked for several at the same time is one transaction, and none if nothing was committed since the last.
    """

    def __init__(self, catalog_db: Database) -> None:
        self._catalog = catalog_db
        self._asked = Batches(self._view_all, most=_MOST_AT_ONCE)
        self._views = Remembered(catalog_db, self._asked.submit, most=_REMEMBERED)

    async def view(self, recording_id: RecordingId) -> RecordingView:
        """
        Return what there is of the recording now.
        """
        return await self._views.get(recording_id)

    async def close(self) -> None:
        """
        Let what is being looked at come to its end.
        """
        await self._asked.close()

    async def _view_all(self, recording_ids: Sequence[RecordingId]) -> list[RecordingView]:
        async with self._catalog.read() as connection:
            recordings = await get_recordings(connection, recording_ids)
            placements = await placements_of_all(connection, recording_ids)
            pieces = await pieces_of_all(connection, recording_ids)
        return [RecordingView(recordings.get(one), placements[one], pieces[one]) for one in recording_ids]
