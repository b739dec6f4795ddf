"""
The few SQL expressions on which SQLite and PostgreSQL differ.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement


class _NowMs(FunctionElement[int]):
    """
    The database server's clock in Unix milliseconds.
    """

    type = BigInteger()
    inherit_cache = True
    name = "gateway_now_ms"


@compiles(_NowMs, "sqlite")
def _sqlite_now_ms(element: _NowMs, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


@compiles(_NowMs, "postgresql")
def _postgresql_now_ms(element: _NowMs, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


def db_now_ms() -> ColumnElement[int]:
    """
    Return an expression for the database's own time, in Unix milliseconds.

    Leases are set and compared with it, so that nodes whose clocks disagree still agree on who holds one.
    On PostgreSQL it moves within a transaction.
    """
    return _NowMs()


def insert_or_ignore(table: Table, dialect: str) -> Insert:
    """
    Return an INSERT that leaves an existing row of the same key as it is.
    """
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
