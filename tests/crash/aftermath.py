"""
What must be true of an installation once its daemon has been stopped and everything left to do has been done.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from gateway.app import open_gateway
from gateway.catalog import tables
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded
from gateway.settings import Settings

_BLOB = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Aftermath:
    """
    What lies in a data directory, by recording id, and what the catalog and the keys say to it.
    """

    jobs: list[tuple[str, str, str | None]]
    spooled: set[str]
    blobs: set[str]
    placed: dict[str, str]
    """Blob key to recording id."""
    opens: set[str]
    """Whose keys can still be derived, of those that ever were recordings or uploads."""


async def settle(settings: Settings) -> Aftermath:
    """
    Open the installation without workers, do every job that is due, and look at what there is.
    """
    data_dir = settings.data_dir
    async with open_gateway(settings, with_workers=False) as gateway:
        await gateway.do_due_jobs()
        async with gateway.context.catalog.read() as connection:
            jobs = await connection.execute(
                select(tables.jobs.c.kind, tables.jobs.c.subject_id, tables.jobs.c.last_error)
            )
            placed = await connection.execute(
                select(tables.placements.c.blob_key, tables.placements.c.recording_id).where(
                    tables.placements.c.state == "placed"
                )
            )
            leaves = await connection.execute(
                select(tables.uploads.c.id, tables.uploads.c.key_slot, tables.uploads.c.leaf_index)
            )
            return Aftermath(
                jobs=[tuple(row) for row in jobs],
                spooled={path.name.partition(".")[0] for path in (data_dir / "spool").iterdir()},
                blobs=blob_keys(data_dir / "blobs"),
                placed={row.blob_key: row.recording_id for row in placed},
                opens={row.id for row in leaves if await _derives(gateway.context.keyring, row)},
            )


def check(aftermath: Aftermath, *, live: Collection[str], unfinished: Collection[str]) -> None:
    """
    Check that exactly the *live* recordings lie at home, only *unfinished* uploads in the spool, and that only these
    have keys.
    """
    assert [] == aftermath.jobs
    assert aftermath.spooled <= {str(upload) for upload in unfinished}
    assert set(aftermath.placed) == aftermath.blobs
    assert sorted(live) == sorted(aftermath.placed.values())
    assert {*live, *unfinished} == aftermath.opens


def blob_keys(blobs: Path) -> set[str]:
    """
    Return the keys of the blobs in a local home, and check that nothing half-done lies beside them.
    """
    names = {path.name for path in blobs.rglob("*") if path.is_file()}
    keys = {name for name in names if _BLOB.fullmatch(name)}
    assert names - keys <= {".recording-gateway-blobs"}
    return keys


async def _derives(keyring: Keyring, row: object) -> bool:
    try:
        await keyring.leaf(row.key_slot, row.leaf_index)  # type: ignore[attr-defined]
    except LeafShredded:
        return False
    return True
