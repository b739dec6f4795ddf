"""
The key database's tables.

All of it may be copied anywhere: what is secret in it is sealed, and the root that opens it lies elsewhere.
Times are Unix milliseconds.
FORMAT §6.4 describes each column.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

metadata = MetaData()

tree_head = Table(
    "tree_head",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1", name="tree_head_is_one_row"), primary_key=True),
    Column("tree_id", LargeBinary, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # 0: founded, no tree yet
    Column("next_slot", BigInteger, nullable=False),
)

tree_pages = Table(
    "tree_pages",
    metadata,
    Column("depth", SmallInteger, primary_key=True, autoincrement=False),
    Column("first_slot", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),  # of writing
    Column("sealed", LargeBinary, nullable=False),
)

tree_states = Table(
    "tree_states",
    metadata,
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),  # of writing
    Column("sealed", LargeBinary, nullable=False),
)

index_marks = Table(
    "index_marks",
    metadata,
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("next_index", BigInteger, nullable=False),  # every index below was, or may have been, handed out
)

service_keys = Table(
    "service_keys",
    metadata,
    Column("purpose", Text, primary_key=True),
    Column("leaf_index", BigInteger, nullable=False, unique=True),  # in slot 0
)

shredding_log = Table(
    "shredding_log",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),  # the first that does not lead there
    Column("ordinal", BigInteger, primary_key=True, autoincrement=False),
    Column("subject_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("first_leaf", BigInteger),
    Column("last_leaf", BigInteger),
    Column("revoked_at", BigInteger, nullable=False),
    Column("subject_hash", LargeBinary, nullable=False),
    Column("commitment", LargeBinary),
    Column("placements", Text, nullable=False),  # JSON, as the receipt says it
    Column("destroyed_root", LargeBinary, nullable=False),  # the id of the root that led there
    Column("receipt", BigInteger, unique=True),  # sequence of its "shredded" receipt; NULL until it is final
)

receipts = Table(
    "receipts",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("subject_id", Text, nullable=False),
    Column("statement", Text, nullable=False),
    Column("document", Text, nullable=False),  # canonical JSON, signature included
    Index("receipts_by_subject", "subject_id", "sequence"),
)

log_heads = Table(
    "log_heads",
    metadata,
    Column("log", Text, primary_key=True),  # which log it is of
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # of its newest entry then
    Column("document", Text, nullable=False),  # canonical JSON, signature included
)
"""What was signed about logs that lie elsewhere: how far they had come."""
