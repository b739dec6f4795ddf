"""
What a process has used so far, as the kernel counts it; and what it asked of a database.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import event

from gateway.database import Database

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Counters:
    """
    CPU time, and bytes.

    Attributes:
        cpu_seconds: user and system.
        written: what it handed to the kernel to write, sockets and files alike.
        to_disk: what it made dirty of files' pages, in whole pages.
    """

    cpu_seconds: float
    written: int
    to_disk: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """
        Read them of a running process; files that it was handed are counted as its own.
        """
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        numbers = {name: int(value) for name, value in (line.split(": ") for line in lines)}
        # After the program's name, which may hold spaces: state, parent, …; user and system time are 12th and 13th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        return cls(cpu, numbers["wchar"], numbers["write_bytes"])

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(
            self.cpu_seconds - other.cpu_seconds, self.written - other.written, self.to_disk - other.to_disk
        )

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(
            self.cpu_seconds + other.cpu_seconds, self.written + other.written, self.to_disk + other.to_disk
        )


class Statements:
    """
    Counts the statements on a database of this process, those that begin a transaction left out.
    """

    def __init__(self, database: Database) -> None:
        self.count = 0
        self._engine = database.sync_engine

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._on_statement)
        return self

    def __exit__(self, *raised: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._on_statement)

    def _on_statement(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self.count += not statement.startswith("BEGIN")
