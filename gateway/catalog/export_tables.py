"""
The catalog's tables of exports; as `gateway.catalog.tables` has the others.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.catalog.schema import metadata

exports = Table(
    "exports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("key_slot", BigInteger, nullable=False),
    Column("leaf_index", BigInteger, nullable=False),  # its own leaf, punctured when it ends
    Column("state", Text, nullable=False),  # preparing, ready, ended
    Column("include", Text, nullable=False),  # audio, sealed: joined by a space
    Column(
        "sealed", LargeBinary
    ),  # whose it is, for its first page: under its own leaf; NULL until it is known
    Column("recordings", Integer, nullable=False),
    Column("checked", Integer, nullable=False),
    Column(
        "revision", Integer, nullable=False
    ),  # grows when the archive's bytes change; 0: there are none yet
    Column("layout", Integer, nullable=False),  # which program laid it out, see `gateway.archive.LAYOUT`
    Column("is_zip64", Boolean, nullable=False),
    Column("members", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("directory_offset", BigInteger, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("ready_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("retry_at", BigInteger),  # when what could not be reached is tried again
    Column("ended_at", BigInteger),
    Column("end_reason", Text),  # expired, deleted
    Column("shredded_at", BigInteger),
    UniqueConstraint("key_slot", "leaf_index"),
    Index("exports_by_expiry", "state", "expires_at"),
)
"""What users take away. No archive is stored: it is made of these rows and of the recordings, while it is sent."""

export_entries = Table(
    "export_entries",
    metadata,
    Column("export_id", Text, ForeignKey("exports.id"), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1 on, newest first
    Column("recording_id", Text, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # waiting, taken, missing
    Column("reason", Text),
    # Name, checksums and details, under the recording's own leaf, and that under the export's: either end is its end.
    Column("sealed", LargeBinary),
    Column("failing_since", BigInteger),
    Index("export_entries_by_state", "export_id", "state"),
)

export_parts = Table(
    "export_parts",
    metadata,
    Column("export_id", Text, ForeignKey("exports.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("name", Text),  # of a file that never changes; NULL: a page of recordings, with these
    Column("title", Text),
    Column("first_entry", Integer),
    Column("last_entry", Integer),
    Column("sealed", LargeBinary),  # the file, under the export's leaf
    Column("is_stale", Boolean, nullable=False),
    Column("members", Integer, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("directory_length", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("directory_offset", BigInteger, nullable=False),
)
