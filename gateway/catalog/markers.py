"""
How far the catalog has followed something that lies outside it.
"""

from sqlalchemy import select, update

from gateway.catalog.tables import markers
from gateway.database import Connection, insert_or_ignore


async def read_marker(connection: Connection, name: str) -> int:
    """
    Return the position last stored under *name*, 0 if there is none.
    """
    found = (await connection.execute(select(markers.c.position).where(markers.c.name == name))).scalar()
    return 0 if found is None else found


async def move_marker(connection: Connection, name: str, position: int) -> None:
    """
    Store *position* under *name*.
    """
    await connection.execute(insert_or_ignore(markers, connection.dialect.name).values(name=name, position=0))
    await connection.execute(update(markers).where(markers.c.name == name).values(position=position))
