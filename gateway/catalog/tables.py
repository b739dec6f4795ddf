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
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
    text,
)

from gateway.catalog import operator_tables
from gateway.catalog.schema import metadata

__all__ = ["metadata", "operator_tables"]

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key_slot", BigInteger, nullable=False, unique=True),
    Column("state", Text, nullable=False),  # active, erased
    Column("created_at", BigInteger, nullable=False),
    Column("erased_at", BigInteger),
    Column("personal", LargeBinary),  # name, phone, e-mail: sealed under the user's own leaf
    # The day on which he, or a program of his, last did something here: when it began, so it tells no hour.
    Column("used_at", BigInteger),
    # When he asked to be erased, and when that is done: in the time that `gateway.services.leaving` counts. NULL: he stays.
    Column("leaving_since", BigInteger),
    Column("leaves_at", BigInteger),
    # Once erased: the newest look-up key by which he was ever found.
    Column("look_up_generation", Integer),
    Index("users_by_use", "state", "used_at"),
)
Index(
    "users_leaving",
    users.c.leaves_at,
    sqlite_where=users.c.leaves_at.is_not(None),
    postgresql_where=users.c.leaves_at.is_not(None),
)

identities = Table(
    "identities",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),  # phone, google, ...
    # HMAC of kind and subject under a look-up key, and which of the look-up keys that is.
    Column("look_up", LargeBinary, nullable=False, unique=True),
    Column("generation", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # subject and label, under the user's own leaf
    Column("created_at", BigInteger, nullable=False),
    Index("identities_by_generation", "generation"),
)

devices = Table(
    "devices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),  # app, browser
    Column("sealed", LargeBinary, nullable=False),  # its name, under the user's own leaf
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),  # when it was last given tokens
    Column("expires_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("end_reason", Text),  # signed-out, revoked, reused
    Index("devices_by_expiry", "expires_at"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),  # NULL: it is the one that counts
    Column("successor_hash", LargeBinary),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("secret_hash", LargeBinary, primary_key=True),  # SHA-256 of what only the asker was given
    Column("kind", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # under a key made of that secret: nothing here opens it
    Column("tries", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

tallies = Table(
    "tallies",
    metadata,
    Column("subject_hash", LargeBinary, primary_key=True),  # HMAC of what is counted, under a look-up key
    Column("window_ends_at", BigInteger, nullable=False, index=True),
    Column("counted", Integer, nullable=False),
)
"""How often something was tried by one number, address or device."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("device_id", Text, ForeignKey("devices.id"), index=True),  # NULL: made by command
    Index("tokens_by_expiry", "expires_at"),
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
    # The expiry that it went with: the receipt is of that, not of this recording alone.
    Column("expiry_id", Text),
    UniqueConstraint("key_slot", "leaf_index"),
    Index("recordings_newest_first", "user_id", "state", "stored_at", "id"),
)
Index(
    "recordings_by_age",
    recordings.c.stored_at,
    sqlite_where=recordings.c.state == literal_column("'live'"),
    postgresql_where=recordings.c.state == literal_column("'live'"),
)

expiries = Table(
    "expiries",
    metadata,
    # Names the leaves, see `gateway.catalog.expiries`: the same leaves are the same expiry, also in a restored catalog.
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("key_slot", BigInteger, nullable=False),
    Column("first_leaf", BigInteger, nullable=False),
    Column("last_leaf", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=False),
    Column("purged_at", BigInteger),
)
"""Recordings of one user, one leaf after the other, whose time was over and whose keys go together."""

retention_stops = Table(
    "retention_stops",
    metadata,
    Column("id", Text, primary_key=True),
    Column("reason", Text, nullable=False),  # clock-step, first-sweep, too-many
    Column("due", BigInteger, nullable=False),  # recordings
    Column("stored_before", BigInteger, nullable=False),
    Column("clock_at", BigInteger, nullable=False),  # the time that is doubted, as it goes on
    Column("stopped_at", BigInteger, nullable=False),
    Column("approved_at", BigInteger),
    Column("ended_at", BigInteger),
)
"""Sweeps that wait, or waited, for an operator to say that they are meant."""

holds = Table(
    "holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("recording_id", Text, ForeignKey("recordings.id")),  # NULL: all that the user has, now and later
    Column("sealed", LargeBinary, nullable=False),  # why, and who placed it: under the user's own leaf
    Column("tells_user", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("lifted_at", BigInteger),
)

notice_runs = Table(
    "notice_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("is_promotional", Boolean, nullable=False),
    Column("facts", Text, nullable=False),  # JSON; what all are told, so nothing personal
    Column("audience", Text, nullable=False),  # all, listed
    Column("state", Text, nullable=False),  # preparing, running, done
    Column("position", Text, nullable=False),  # the last user who was told
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
"""What many are told at once."""

notice_audiences = Table(
    "notice_audiences",
    metadata,
    Column("run_id", Text, ForeignKey("notice_runs.id"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Index("notice_audiences_by_user", "user_id"),
)
"""Whom a run is for that is not for all."""

notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("occasion", Text, nullable=False),  # of one occasion a user is told once; ids and numbers alone
    Column("run_id", Text, ForeignKey("notice_runs.id")),
    Column("sealed", LargeBinary),  # what it says, under the user's own leaf; NULL where its run says all
    Column("created_at", BigInteger, nullable=False),
    Column("read_at", BigInteger),
    Column("mail_state", Text, nullable=False),  # none, queued, sent, refused, given-up
    Column("mail_reason", Text),  # a word of ours and the server's code, never its text
    Column("mail_tries", Integer, nullable=False),
    Column("mail_at", BigInteger, nullable=False),  # since when that is its state
    UniqueConstraint("user_id", "kind", "occasion"),
    Index("notices_newest_first", "user_id", "created_at", "id"),
    Index("notices_of_run", "run_id", "mail_state"),
)
"""What a user was told, on the pages and by e-mail."""

mail_preferences = Table(
    "mail_preferences",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("promotional", Boolean, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("format", Text, nullable=False),  # markdown, text
    Column("body", Text, nullable=False),
    Column("effective_at", BigInteger, nullable=False),
    Column("published_at", BigInteger, nullable=False),
)

policy_acceptances = Table(
    "policy_acceptances",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("version", Integer, ForeignKey("policies.version"), primary_key=True),
    Column("accepted_at", BigInteger, nullable=False),
)

expiry_notices = Table(
    "expiry_notices",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("days", Integer, primary_key=True),
    Column("stored_before", BigInteger, nullable=False),
)
"""That a user was told, so many days before, that his recordings stored before that time expire."""

unused_accounts = Table(
    "unused_accounts",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("used_at", BigInteger, nullable=False),  # as it was when its user was first told
    Column("ends_at", BigInteger, nullable=False, index=True),
    Column("told_days", Integer, nullable=False),  # which notice he had last
    Column("told_at", BigInteger, nullable=False),
)
"""Accounts that end for not being used, unless they are."""

placements = Table(
    "placements",
    metadata,
    Column("blob_key", Text, primary_key=True),
    Column("recording_id", Text, ForeignKey("recordings.id"), nullable=False, index=True),
    Column("backend", Text, nullable=False),  # "home", or the id of a link
    Column("state", Text, nullable=False),  # pending, placed, purged, left
    Column("locator", Text),
    Column("sealed_size", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("placed_at", BigInteger),
    Column("purged_at", BigInteger),
    # A put in parts that is under way, sealed under the recording's own leaf: it may hold what authorises writes.
    Column("session", LargeBinary),
    Column("digest", Text),  # the provider's hash of the sealed bytes, if it tells one
    Column("checked_at", BigInteger),  # when a scrub last found it whole
    # Until when the provider may bring a purged blob back: the time of the purge if it cannot; NULL: nobody knows.
    Column("recoverable_until", BigInteger),
    UniqueConstraint("recording_id", "backend"),
    Index("placements_by_place", "backend", "state"),
    Index("placements_by_check", "state", "checked_at"),
)

links = Table(
    "links",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column(
        "state", Text, nullable=False
    ),  # ok, expiring, revoked, over_quota, scope_missing, misconfigured, unlinked
    Column("reason", Text),  # the code of the error that brought it into that state
    # Tokens, settings and the account's label, sealed under the user's own leaf; NULL once unlinked.
    Column("secrets", LargeBinary),
    # Grows with every change of the secrets: a refreshed token is stored only over the one it was made from.
    Column("revision", Integer, nullable=False),
    # Grows when the account is linked anew: what is noted about an earlier grant counts no more.
    Column("generation", Integer, nullable=False, server_default=text("1")),
    Column("created_at", BigInteger, nullable=False),
    Column("refreshed_at", BigInteger),  # when its access token was last brought; NULL for kinds without
    Column("grant_ends_at", BigInteger),  # when the grant itself ends, where the provider says so
    Column("refreshing_until", BigInteger),  # a node brings a new one until then, in the database's time
    Column("checked_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("ill_since", BigInteger),  # when a look through all links first found it so
    Column("told", Text),  # what of that its user was told: ending, ill
    Index("links_by_check", "state", "checked_at"),
)
Index(
    "links_ill",
    links.c.ill_since,
    sqlite_where=links.c.ill_since.is_not(None),
    postgresql_where=links.c.ill_since.is_not(None),
)

link_attempts = Table(
    "link_attempts",
    metadata,
    Column("state_hash", LargeBinary, primary_key=True),  # SHA-256 of OAuth's state
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("link_id", Text),  # of the link that is linked anew
    Column("secrets", LargeBinary, nullable=False),  # the code verifier and where to go then, sealed
    Column("expires_at", BigInteger, nullable=False),
)

routes = Table(
    "routes",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("keeps_home", Boolean, nullable=False),
    Column("falls_over", Boolean, nullable=False),
    Column("targets", Text, nullable=False),  # ids of links, joined by spaces, first choice first
    Column("updated_at", BigInteger, nullable=False),
)

moves = Table(
    "moves",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("source", Text, nullable=False),  # "home", or the id of a link
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),  # running, done, stopped
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("position", Text),  # the last recording that was moved
    Column("unlinks", Boolean, nullable=False, server_default=false()),  # the source is unlinked at the end
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
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
    Index("jobs_due", "state", "kind", "run_at"),
)

markers = Table(
    "markers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
)
"""How far the catalog has followed something outside it, such as the shredding log."""
