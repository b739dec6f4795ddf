"""
The catalog's tables about the people who run the service: what they did, who they are, where they are signed in; what was
given to others, and counts by day.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from gateway.catalog.schema import metadata

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # operator:ID, or console:UNIX USER
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("user_id", Text),  # whom it is about; no foreign key: what was done stays said
    Column("subject", Text),  # the id of a hold, a job, ...
    Column(
        "facts", Text, nullable=False
    ),  # JSON: words, numbers and ids, nothing that says something about a person
    Column("sealed", LargeBinary),  # the reason, under the user's own leaf
    Column("sealed_hash", LargeBinary),  # of that, which stays when the reason is gone
    Column("entry_hash", LargeBinary, nullable=False),  # of all the above but sealed, and of the entry before
    Column("mac", LargeBinary, nullable=False),  # of that hash, under a key of the service
    Index("audit_entries_by_user", "user_id", "sequence"),
)
"""What operators did, in a chain: FORMAT 8."""

operators = Table(
    "operators",
    metadata,
    Column("id", Text, primary_key=True),
    # HMAC of issuer and subject under a look-up key, and which of the look-up keys that is.
    Column("look_up", LargeBinary, nullable=False, unique=True),
    Column("generation", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # what he is called, under a key of the service
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),  # when he last signed in
)

operator_sessions = Table(
    "operator_sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),  # what his roles follow from, under a key of the service
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

disclosures = Table(
    "disclosures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    # The link or the way of signing in, and the year: each is told of once in a year; NULL: an operator told of it.
    Column("source", Text, unique=True),
    Column("sealed", LargeBinary, nullable=False),  # to whom, what and why, under the user's own leaf
    Index("disclosures_by_user", "user_id", "at"),
)
"""To whom, outside of the operator's organisation, something of a user's went."""

day_counts = Table(
    "day_counts",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # when it began, UTC
    Column("what", Text, primary_key=True),
    Column("label", Text, primary_key=True),  # a kind of backend, or empty
    Column("counted", BigInteger, nullable=False),
)
"""How much there was of what on a day."""
