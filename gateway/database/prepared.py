"""
Statements that come again and again, prepared once for SQLite's own driver.

SQLAlchemy writes them and knows how each type is bound and read. It is asked for that once, not each time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Executable, LargeBinary, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase

Parameters = Mapping[str, Any]

_LONGEST_LIST: Final = 1024


class SqliteResult(IteratorResult[Any]):
    """
    Rows that were fetched already, as SQLAlchemy gives them.

    Attributes:
        rowcount: how many the statement changed.
        returns_rows: whether it is one that can return any.
    """

    def __init__(
        self, shape: SimpleResultMetaData, rows: Sequence[Any], *, rowcount: int, returns_rows: bool
    ) -> None:
        super().__init__(shape, iter(rows))
        self.rowcount: Final = rowcount
        self.returns_rows: Final = returns_rows


class Wording:
    """
    A statement in SQLite's words, with lists of certain lengths.
    """

    def __init__(self, compiled: SQLCompiler, given: Parameters, lengths: Mapping[str, int]) -> None:
        stand_ins = {name: [None] * length for name, length in lengths.items()}
        expanded = compiled.construct_expanded_state({**given, **stand_ins}, escape_names=False)
        assert expanded.positiontup is not None
        self.sql = expanded.statement
        self._order = expanded.positiontup
        self._lists = {name: expanded.parameter_expansion[name] for name in lengths}
        from_caller = {*given, *(name for names in self._lists.values() for name in names)}
        # What the statement itself compares with and sets.
        self._own = {
            name: expanded.processors[name](value) if name in expanded.processors else value
            for name, value in expanded.parameters.items()
            if name in self._order and name not in from_caller
        }
        self._processors = [
            (name, expanded.processors[name])
            for name in from_caller.intersection(self._order)
            if name in expanded.processors
        ]

    def values(self, given: Parameters) -> list[Any]:
        """
        Return what is to be bound, in the order of the words.
        """
        values = {**self._own, **given}
        for name, names in self._lists.items():
            wanted = list(given[name])
            # A list that is too short is filled up with a value that it has.
            wanted += wanted[:1] * (len(names) - len(wanted))
            values.update(zip(names, wanted, strict=True))
        for name, process in self._processors:
            values[name] = process(values[name])
        return [values[name] for name in self._order]


class PreparedStatement:
    """
    A statement as it is executed with parameters of certain names.
    """

    def __init__(self, statement: Executable, dialect: Dialect, given: Parameters) -> None:
        assert isinstance(statement, Select | UpdateBase)
        self.is_query: Final = isinstance(statement, Select)
        compiled = statement.compile(dialect=dialect, column_keys=list(given) or None)
        assert isinstance(compiled, SQLCompiler)
        self._compiled = compiled
        self._lists = [name for name, value in given.items() if _is_list(value)]
        self._wordings: dict[tuple[int, ...], Wording] = {}
        columns = statement.exported_columns
        self._returns_rows = bool(columns)
        self._shape = SimpleResultMetaData([str(key) for key, _ in columns.items()])
        readers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._readers = [
            (at, read)
            for at, (column, read) in enumerate(zip(columns, readers, strict=True))
            # The driver gives bytes as what they are.
            if read is not None and not isinstance(column.type, LargeBinary)
        ]

    def wording(self, given: Parameters) -> Wording:
        """
        Return the words for lists as long as those that are *given*, or somewhat longer: each length is a statement of its
        own to SQLite, so there are only powers of two.
        """
        lengths = tuple([1 << (len(given[name]) - 1).bit_length() for name in self._lists])
        if (wording := self._wordings.get(lengths)) is None:
            wording = Wording(self._compiled, given, dict(zip(self._lists, lengths, strict=True)))
            self._wordings[lengths] = wording
        return wording

    def result(self, rows: list[Any], rowcount: int) -> SqliteResult:
        """
        Return what the driver fetched as the types of the columns want it.
        """
        if self._readers:
            rows = [self._read(row) for row in rows]
        return SqliteResult(self._shape, rows, rowcount=rowcount, returns_rows=self._returns_rows)

    def _read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        values = list(row)
        for at, read in self._readers:
            values[at] = read(values[at])
        return tuple(values)


class StatementCache:
    """
    The prepared statements of one engine.

    A statement is known by the object that it is. One that comes for the first time is most often made for that one use:
    only when it comes again it is worth preparing.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._statements: WeakKeyDictionary[
            Executable, dict[tuple[bool, tuple[str, ...]], PreparedStatement]
        ] = WeakKeyDictionary()

    def prepared(
        self, statement: Executable, parameters: Parameters | Sequence[Parameters] | None
    ) -> PreparedStatement | None:
        """
        Return *statement* prepared for such *parameters*; None where SQLAlchemy itself is to do it.
        """
        known = self._statements.get(statement)
        if known is None:
            self._statements[statement] = {}
            return None
        is_many = isinstance(parameters, Sequence)
        given = _first(parameters)
        if not _can_be_prepared(statement, given, is_many=is_many):
            return None
        key = (is_many, tuple(given))
        if key not in known:
            known[key] = PreparedStatement(statement, self._dialect, given)
        return known[key]


def _can_be_prepared(statement: Executable, given: Parameters, *, is_many: bool) -> bool:
    if not isinstance(statement, Select | UpdateBase):
        return False
    lists = [value for value in given.values() if _is_list(value)]
    if is_many:
        return bool(given) and not lists and not statement.exported_columns
    return all(1 <= len(value) <= _LONGEST_LIST for value in lists)


def _first(parameters: Parameters | Sequence[Parameters] | None) -> Parameters:
    if isinstance(parameters, Sequence):
        return parameters[0] if parameters else {}
    return parameters or {}


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset)
