"""
Uploads that came whole in one request, recorded many at a time.

None of them was in the catalog before: each is written once, as the finished upload and the live recording that it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.catalog.jobs import enqueue_jobs
from gateway.catalog.recordings import RecordingRow, recording_values
from gateway.catalog.tables import pieces, placements, recordings, uploads
from gateway.catalog.uploads import Piece, Upload, piece_values, upload_values
from gateway.database import Connection

# Made once: a statement remembers what it was compiled to.
_UPLOADS: Final = uploads.insert()
_PIECES: Final = pieces.insert()
_RECORDINGS: Final = recordings.insert()
_PLACEMENTS: Final = placements.insert()


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    One of them.
    """

    upload: Upload
    piece: Piece
    recording: RecordingRow


async def insert_arrivals(
    connection: Connection, placed: Sequence[tuple[Arrival, Sequence[tuple[str, str]]]]
) -> None:
    """
    Add everything that there is of them, each with the places and blob keys that it is to go to, and the jobs for that.

    The caller holds their users' rows.
    """
    arrivals = [one for one, _ in placed]
    await connection.execute(_UPLOADS, [upload_values(one.upload) for one in arrivals])
    await connection.execute(_PIECES, [piece_values(one.upload.id, one.piece) for one in arrivals])
    await connection.execute(_RECORDINGS, [recording_values(one.recording) for one in arrivals])
    await connection.execute(
        _PLACEMENTS,
        [
            {
                "blob_key": blob_key,
                "recording_id": str(one.recording.id),
                "backend": place,
                "state": "pending",
                "created_at": one.recording.stored_at,
            }
            for one, places in placed
            for place, blob_key in places
        ],
    )
    await enqueue_jobs(connection, "place", [str(one.recording.id) for one in arrivals])
