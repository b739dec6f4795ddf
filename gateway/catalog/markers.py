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


async def share_marker(connection: Connection, name: str) -> int:
    """
    Return the position of a marker that is there, and keep others from moving it until the transaction ends.

    On SQLite, where writers come one after the other, reading is enough.
    """
    query = select(markers.c.position).where(markers.c.name == name).with_for_update(read=True)
    position: int = (await connection.execute(query)).scalar_one()
    return position


async def lock_marker(connection: Connection, name: str) -> int:
    """
    Return the position last stored under *name*, which is this transaction's alone to move until it ends.
    """
    await connection.execute(insert_or_ignore(markers, connection.dialect.name).values(name=name, position=0))
    query = select(markers.c.position).where(markers.c.name == name).with_for_update()
    position: int = (await connection.execute(query)).scalar_one()
    return position


async def raise_marker(connection: Connection, name: str, position: int) -> None:
    """
    Store *position* under *name* unless a later one is there.
    """
    await connection.execute(insert_or_ignore(markers, connection.dialect.name).values(name=name, position=0))
    await connection.execute(
        update(markers).where(markers.c.name == name, markers.c.position < position).values(position=position)
    )


async def advance_marker(connection: Connection, name: str, *, after: int) -> bool:
    """
    Move a marker on by one, if it is at *after*; tell whether it was.
    """
    result = await connection.execute(
        update(markers).where(markers.c.name == name, markers.c.position == after).values(position=after + 1)
    )
    return result.rowcount == 1


async def move_marker(connection: Connection, name: str, position: int) -> None:
    """
    Store *position* under *name*.
    """
    await connection.execute(insert_or_ignore(markers, connection.dialect.name).values(name=name, position=0))
    await connection.execute(update(markers).where(markers.c.name == name).values(position=position))
