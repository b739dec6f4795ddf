"""
Engines, transactions and migrations for SQLite and PostgreSQL.

Owns how the gateway talks to a database; knows no table.
The catalog and the key database are both built on it, each with a `Database` of its own.
"""

from sqlalchemy.ext.asyncio import AsyncConnection as Connection

from gateway.database.clauses import db_now_ms, insert_or_ignore
from gateway.database.engine import Database, DatabaseUnavailable
from gateway.database.migrations import migrate
from gateway.database.remembered import Remembered

__all__ = [
    "Connection",
    "Database",
    "DatabaseUnavailable",
    "Remembered",
    "db_now_ms",
    "insert_or_ignore",
    "migrate",
]
