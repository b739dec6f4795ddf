"""
The catalog's tables.

Times are Unix milliseconds, ids are text, whatever says something about a recording or a user is sealed bytes.
A column's name and fate after an erasure are listed in ``docs/DELETION.md``; a test keeps that list complete.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key_slot", BigInteger, nullable=False, unique=True),
    Column("state", Text, nullable=False),  # active, erased
    Column("created_at", BigInteger, nullable=False),
    Column("erased_at", BigInteger),
    Column("personal", LargeBinary),  # name, phone, e-mail: sealed under the user's own leaf
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("key_slot", BigInteger, nullable=False),
    Column("leaf_index", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # open, complete, terminated, expired
    Column("length", BigInteger),  # plaintext bytes; NULL while deferred
    Column("received", BigInteger, nullable=False),  # the upload offset
    Column("details", LargeBinary),
    Column("idempotency_hash", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # Grows with each append that starts; a write with an older one is refused.
    Column("fence", BigInteger, nullable=False),
    # The fence of an append that started and has not been recorded: after a crash its spool file is looked at.
    Column("unsettled_fence", BigInteger),
    # That append promised a checksum, so a part of it counts for nothing.
    Column("unsettled_is_atomic", Boolean, nullable=False),
    UniqueConstraint("user_id", "idempotency_hash"),
    Index("uploads_by_expiry", "state", "expires_at"),
    Index("uploads_by_user", "user_id", "state"),
    Index("uploads_by_leaf", "key_slot", "leaf_index"),
)

pieces = Table(
    "pieces",
    metadata,
    # An upload's id, which stays when the upload has become a recording.
    Column("recording_id", Text, primary_key=True),
    # Names the spool file; pieces follow one another in this order.
    Column("fence", BigInteger, primary_key=True),
    Column("start", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    # Ends with its own short last chunk; if it is the only piece, its file is the blob already.
    Column("is_ended", Boolean, nullable=False),
)

recordings = Table(
    "recordings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("key_slot", BigInteger, nullable=False),
    Column("leaf_index", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # live, erased (a tombstone)
    Column("size", BigInteger, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("details", LargeBinary),
    Column("details_revision", Integer, nullable=False),
    Column("commitment", LargeBinary),  # of the blob, once there is one
    Column("revoked_at", BigInteger),
    Column("purged_at", BigInteger),
    UniqueConstraint("key_slot", "leaf_index"),
    Index("recordings_newest_first", "user_id", "state", "stored_at", "id"),
)

placements = Table(
    "placements",
    metadata,
    Column("blob_key", Text, primary_key=True),
    Column("recording_id", Text, ForeignKey("recordings.id"), nullable=False, index=True),
    Column("backend", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending, placed, purged
    Column("locator", Text),
    Column("sealed_size", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("placed_at", BigInteger),
    Column("purged_at", BigInteger),
    UniqueConstraint("recording_id", "backend"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("state", Text, nullable=False),  # ready, running, parked
    Column("run_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_holder", Text),
    Column("lease_until", BigInteger),
    Column("last_error", Text),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("kind", "subject_id"),
    Index("jobs_due", "state", "run_at"),
)

markers = Table(
    "markers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
)
"""How far the catalog has followed something outside it, such as the shredding log."""
