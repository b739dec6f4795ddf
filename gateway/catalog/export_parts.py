"""
The parts of an export's archive: files that never change, and pages of recordings, each a stretch of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Integer, bindparam, delete, select, update

from gateway.catalog.export_tables import export_parts
from gateway.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    A stretch of the archive: a file that never changes, or a page of recordings.

    *length* and *directory_length* are bytes in the archive and in its central directory; the offsets are where they begin.
    """

    number: int
    name: str | None = None
    title: str | None = None
    first_entry: int = 0
    last_entry: int = 0
    is_stale: bool = True
    members: int = 0
    length: int = 0
    directory_length: int = 0
    offset: int = 0
    directory_offset: int = 0

    @property
    def entries(self) -> tuple[int, int]:
        return self.first_entry, self.last_entry

    @property
    def is_page(self) -> bool:
        return self.name is None


_PART_COLUMNS: Final = [column for column in export_parts.c if column.name not in ("export_id", "sealed")]


async def parts_of(connection: Connection, export_id: str) -> list[Part]:
    """
    Return the parts of an archive in their order, without what is in them.
    """
    query = (
        select(*_PART_COLUMNS).where(export_parts.c.export_id == export_id).order_by(export_parts.c.number)
    )
    return [
        Part(**{name: value for name, value in row._asdict().items() if value is not None})
        for row in await connection.execute(query)
    ]


async def content_of(connection: Connection, export_id: str, number: int) -> bytes | None:
    """
    Return a file's sealed content.
    """
    query = select(export_parts.c.sealed).where(
        export_parts.c.export_id == export_id, export_parts.c.number == number
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def delete_parts(connection: Connection, export_id: str) -> None:
    """
    Remove what was collected for an export.
    """
    await connection.execute(delete(export_parts).where(export_parts.c.export_id == export_id))


async def insert_parts(
    connection: Connection, export_id: str, parts: Sequence[Part], *, sealed: Mapping[int, bytes]
) -> None:
    """
    Add parts, not laid out yet; *sealed* are the contents of files, by their numbers.
    """
    rows = [
        {
            "export_id": export_id,
            "number": part.number,
            "name": part.name,
            "title": part.title,
            "first_entry": part.first_entry if part.is_page else None,
            "last_entry": part.last_entry if part.is_page else None,
            "sealed": sealed.get(part.number),
            "is_stale": True,
            "members": 0,
            "length": 0,
            "directory_length": 0,
            "offset": 0,
            "directory_offset": 0,
        }
        for part in parts
    ]
    await connection.execute(export_parts.insert(), rows)


_LAID_OUT: Final = (
    update(export_parts)
    .where(
        export_parts.c.export_id == bindparam("of_export"), export_parts.c.number == bindparam("of_number")
    )
    .values(
        is_stale=False,
        members=bindparam("to_members", type_=Integer),
        length=bindparam("to_length", type_=BigInteger),
        directory_length=bindparam("to_directory_length", type_=BigInteger),
        offset=bindparam("to_offset", type_=BigInteger),
        directory_offset=bindparam("to_directory_offset", type_=BigInteger),
    )
)


async def lay_out(connection: Connection, export_id: str, parts: Sequence[Part]) -> None:
    """
    Write how long these parts are and where they begin.
    """
    await connection.execute(
        _LAID_OUT,
        [
            {
                "of_export": export_id,
                "of_number": part.number,
                "to_members": part.members,
                "to_length": part.length,
                "to_directory_length": part.directory_length,
                "to_offset": part.offset,
                "to_directory_offset": part.directory_offset,
            }
            for part in parts
        ],
    )
