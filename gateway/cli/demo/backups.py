"""
Backups as an operator would take them, and data directories put together from them.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gateway.base.data_directory import DataDirectory


@dataclass(frozen=True, slots=True)
class Backup:
    """
    Copies of a data directory's parts at one time.
    """

    catalog: Path
    blobs: Path
    keys: Path


def take_backup(data: DataDirectory, folder: Path) -> Backup:
    """
    Copy the catalog, the blobs and the key database of a gateway that may be running; the root is never copied.
    """
    folder.mkdir()
    backup = Backup(folder / "catalog.db", folder / "blobs", folder / "keys.db")
    copy_database(data.path / "catalog.db", backup.catalog)
    copy_database(data.path / "keys.db", backup.keys)
    shutil.copytree(data.blobs, backup.blobs)
    return backup


def put_together(folder: Path, *, catalog: Path, blobs: Path, keys: Path, root: Path) -> DataDirectory:
    """
    Make a data directory of these parts.
    """
    data = DataDirectory(folder)
    data.prepare()
    copy_database(catalog, folder / "catalog.db")
    copy_database(keys, folder / "keys.db")
    shutil.copytree(blobs, data.blobs)
    shutil.copytree(root, data.root)
    return data


def copy_database(source: Path, target: Path) -> None:
    """
    Copy a SQLite database as it is now, with what only its write-ahead log holds so far.
    """
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)


def each_blob(blobs: Path) -> Iterator[Path]:
    """
    Give every blob in a local home.
    """
    return (file for file in sorted(blobs.rglob("*")) if file.is_file() and len(file.name) == 64)
