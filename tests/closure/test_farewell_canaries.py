"""
After an account is erased there is a word for everything personal that was ever stored of it, and nobody finds any.

The attacker has every row that was ever written, backups of many times, every sealed file, the logs, and the live system.
"""

import json
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from sqlalchemy import LargeBinary, Text, select, update

from gateway.base.ids import USER_LEAF, RecordingId, UserId
from gateway.catalog import links, tables
from gateway.catalog.links import LinkRow
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import seal_record
from gateway.keyring.tables import metadata as keys
from gateway.services.holds import Cause
from gateway.services.identities import Proven
from gateway.services.link_secrets import AttemptSecrets, LinkSecrets
from gateway.services.sign_in_expiry import SignInExpiry
from tests.closure.attackers_records import FORMS, HASHES
from tests.closure.test_canaries import Canaries, found_in, hatch, known_to, metadata
from tests.closure.world import World
from tests.http.browser import Browser
from tests.http.newcomer import Newcomer
from tests.support.actors import OPS
from tests.support.gateway import APPEND, Served
from tests.support.postgres import PostgresServer

PERSONAL: Final[dict[str, tuple[str, ...]]] = {
    "users.personal": ("name", "phone", "email"),
    "identities.sealed": (
        "number",
        *(f"{space} {what}" for space in ("google", "microsoft", "dropbox") for what in ("subject", "label")),
    ),
    "devices.sealed": ("device",),
    "links.secrets": ("link subject", "link label", "link setting", "access token", "refresh token"),
    "link_attempts.secrets": ("verifier", "return to"),
    "holds.sealed": ("hold reason", "hold placed by"),
    "recordings.details": (
        "filename",
        "party_number",
        "party_name",
        "note",
        "labels",
        "unknown",
        "later note",
    ),
    "uploads.details": ("unfinished filename", "unfinished party_number", "unfinished unknown"),
    "notices.sealed": ("notice label",),
    "audit_entries.sealed": ("reason of a look",),
    "disclosures.sealed": ("given to", "given what", "given why"),
    "placements.session": ("put session",),
}
"""Where something personal lies sealed under a key of the user's own, and the canaries that go there."""
LOOKED_UP: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "identities.look_up": (
        ("phone", "number"),
        *((space, f"{space} subject") for space in ("google", "microsoft", "dropbox")),
    ),
    "tallies.subject_hash": (
        ("tally-codes-number", "number"),
        ("tally-codes-address", "address"),
        ("tally-codes-device", "device id"),
    ),
}
"""Where a keyed hash lies: whoever has the key can try things out."""
EXPORTED: Final[dict[str, tuple[str, ...]]] = {
    "exports.sealed": ("name",),
    "export_entries.sealed": ("party_name", "later note"),
    "export_parts.sealed": (
        *("name", "phone", "email", "number", "device", "notice label"),
        *("reason of a look", "given to", "given what", "given why"),
    ),
}
"""Where copies of it lie for an export, under its key; what is about a recording, under that one's as well."""
OF_NOBODY: Final = {"sign_ins.sealed": ("number",)}
"""Sealed under what only the asker was given."""
ELSEWHERE: Final = ("sound", "user agent", "address", "device id")
"""Canaries that belong into no column at all, or only hashed."""
IMPERSONAL: Final = frozenset(
    {
        # Random ids, and random words' hashes.
        *(
            f"{table}.id"
            for table in ("users", "identities", "devices", "tokens", "uploads", "recordings", "expiries")
        ),
        *(f"{table}.id" for table in ("retention_stops", "holds", "links", "moves", "jobs")),
        *(
            f"{table}.user_id"
            for table in ("identities", "devices", "tokens", "uploads", "recordings", "expiries")
        ),
        *(f"{table}.user_id" for table in ("holds", "links", "link_attempts", "routes", "moves")),
        *(f"{table}.recording_id" for table in ("pieces", "holds", "placements")),
        *("refresh_tokens.device_id", "tokens.device_id", "link_attempts.link_id", "recordings.expiry_id"),
        *("refresh_tokens.token_hash", "refresh_tokens.successor_hash", "tokens.token_hash"),
        *("sign_ins.secret_hash", "link_attempts.state_hash", "uploads.idempotency_hash"),
        *("jobs.subject_id", "routes.targets", "moves.source", "moves.target", "moves.position"),
        # Words of ours.
        *(
            f"{table}.state"
            for table in ("users", "uploads", "recordings", "placements", "links", "moves", "jobs")
        ),
        *(
            f"{table}.kind"
            for table in ("identities", "devices", "sign_ins", "links", "link_attempts", "jobs")
        ),
        *(
            "devices.end_reason",
            "retention_stops.reason",
            "links.reason",
            "markers.name",
            "jobs.lease_holder",
        ),
        "jobs.last_error",
        # Of the sealed file.
        *("recordings.commitment", "placements.blob_key", "placements.backend", "placements.locator"),
        "placements.digest",
        # Of what users are told: ids, words of ours, and texts that are the same for all.
        *(f"{table}.user_id" for table in ("notices", "notice_audiences", "mail_preferences")),
        *(f"{table}.user_id" for table in ("policy_acceptances", "expiry_notices", "unused_accounts")),
        *(
            "notices.id",
            "notices.run_id",
            "notice_audiences.run_id",
            "notice_runs.id",
            "notice_runs.position",
        ),
        *("notices.kind", "notices.occasion", "notices.mail_state", "notices.mail_reason", "links.told"),
        *("notice_runs.kind", "notice_runs.audience", "notice_runs.state", "notice_runs.facts"),
        *("policies.format", "policies.body"),
        # Of exports: ids, words of ours, and file names that are the same for all.
        *("exports.id", "exports.user_id", "exports.state", "exports.include", "exports.end_reason"),
        *("export_entries.export_id", "export_entries.recording_id", "export_entries.state"),
        *("export_entries.reason", "export_parts.export_id", "export_parts.name", "export_parts.title"),
        # Of what operators did and gave away: ids, words of ours, hashes of what is sealed.
        *(f"audit_entries.{name}" for name in ("id", "actor", "role", "action", "user_id", "subject")),
        *(f"audit_entries.{name}" for name in ("facts", "sealed_hash", "entry_hash", "mac")),
        *("disclosures.id", "disclosures.user_id", "disclosures.source"),
        *("day_counts.what", "day_counts.label"),
        # Of the people who run the service, who are no users of it.
        *("operators.id", "operators.look_up", "operators.sealed", "operator_sessions.token_hash"),
        *("operator_sessions.operator_id", "operator_sessions.sealed"),
        # Of the key database.
        *("log_heads.log", "log_heads.document"),
        *("tree_head.tree_id", "tree_pages.sealed", "tree_states.sealed", "service_keys.purpose"),
        *("shredding_log.subject_id", "shredding_log.kind", "shredding_log.subject_hash"),
        *("shredding_log.commitment", "shredding_log.placements", "shredding_log.destroyed_root"),
        *("receipts.subject_id", "receipts.statement", "receipts.document"),
    }
)
"""Columns that hold text or bytes and nothing about a person; whoever adds one says here why."""
ADDRESS: Final = f"203.0.113.{secrets.randbelow(200) + 20}"


def test_every_column_that_may_be_personal_has_a_canary() -> None:
    """
    A new one belongs into PERSONAL, with a canary that is put there below, or into IMPERSONAL.
    """
    stored = {
        f"{table.name}.{column.name}"
        for metadata in (tables.metadata, keys)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary | Text)
    }
    assert stored == {*PERSONAL, *LOOKED_UP, *OF_NOBODY, *EXPORTED, *IMPERSONAL}
    assert set() == IMPERSONAL & {*PERSONAL, *LOOKED_UP, *OF_NOBODY, *EXPORTED}
    # And the attacker knows how to read each.
    assert {*FORMS, "recordings.details", "uploads.details"} == {*PERSONAL, *OF_NOBODY}
    assert set(HASHES) == set(LOOKED_UP)


@pytest.fixture
def sections() -> dict[str, dict[str, Any]]:
    return {
        "server": {"port": 0, "shutdown_timeout_s": 1, "proxies": ["127.0.0.1"]},
        "sign_in": {"resend_after_s": 0},
    }


def hatch_all() -> Canaries:
    names = [name for of_column in PERSONAL.values() for name in of_column]
    canaries = hatch(*(name for name in [*names, *ELSEWHERE] if name not in ("number", "address")))
    canaries["party_number"] = hatch("party_number")["party_number"]
    canaries |= {name: secrets.token_hex(16) for name in ("unknown", "unfinished unknown")}
    area, line = secrets.choice((212, 312, 415, 617, 702)), secrets.randbelow(100)
    return {**canaries, "number": f"+1{area}55501{line:02}", "address": ADDRESS}


def with_unknown(said: Canaries, canary: str) -> str:
    """
    Say also something under a key that means nothing here, which is kept as it came.
    """
    return f"{metadata(said)},unknown {canary}"


async def live_a_life(served: Served, canaries: Canaries) -> Newcomer:
    """
    Have a user put each canary where it belongs.
    """
    context = served.gateway.context
    ada = Newcomer(served, number=canaries["number"], device=canaries["device"])
    ada.headers = {
        "X-Forwarded-For": canaries["address"],
        "X-Device-Id": canaries["device id"],
        "User-Agent": f"Mozilla/5.0 {canaries['user agent']} Firefox/1",
    }
    await ada.sign_in()
    # Another attempt, of which nothing comes.
    assert 202 == (await ada.ask_code()).status
    async with Browser(served) as browser:
        browser.http.headers.update(ada.headers)
        await browser.sign_in(canaries["number"])
    personal = {name: canaries[name] for name in ("name", "phone", "email")}
    assert 200 == (await ada.mine("PATCH", "/v1/me", personal)).status
    user_id = UserId(ada.tokens["user"])
    user = await context.accounts.get_user(user_id)
    for space in ("google", "microsoft", "dropbox"):
        proven = Proven(space=space, subject=canaries[f"{space} subject"], label=canaries[f"{space} label"])
        await context.people.identities.join(user, proven)

    phone = ada.as_phone()
    content = canaries["sound"].encode() * 2000
    said = {name: canaries[name] for name in ("filename", "party_number", "party_name", "note", "labels")}
    recording = await served.upload(
        {**phone.auth, **ada.headers}, content, metadata=with_unknown(said, canaries["unknown"])
    )
    unfinished = {name: canaries[f"unfinished {name}"] for name in ("filename", "party_number")}
    headers = {
        **ada.headers,
        **APPEND,
        "Upload-Length": "5000",
        "Upload-Metadata": with_unknown(unfinished, canaries["unfinished unknown"]),
    }
    assert 201 == (await phone.ask("POST", "/v1/uploads", headers, content[:1000])).status
    assert 200 == (await phone.edit(recording, {"note": canaries["later note"]})).status

    cause = Cause(reason=canaries["hold reason"], placed_by=canaries["hold placed by"])
    hold = await served.gateway.holds.place(
        user_id, cause, recording_id=RecordingId(uuid.UUID(recording)), by=OPS
    )
    await served.gateway.holds.lift(hold, by=OPS)
    async with context.catalog.write() as connection:
        facts = {"title": "Box", "label": canaries["notice label"], "advice": "Link it again."}
        assert await context.notices.tell(connection, user_id, "link-trouble", facts)
    await put_sealed_by_hand(served, user_id, recording, canaries)
    await served.gateway.audit.note(OPS, "user.looked-at", user=user, reason=canaries["reason of a look"])
    await context.operating.disclosures.add(
        user_id,
        by=OPS,
        recipient=canaries["given to"],
        what=canaries["given what"],
        why=canaries["given why"],
    )
    await served.placed()
    assert 202 == (await ada.mine("POST", "/v1/exports", {"include": ["audio"]})).status
    await served.placed()
    return ada


async def put_sealed_by_hand(served: Served, user_id: UserId, recording: str, canaries: Canaries) -> None:
    """
    Store what only comes about with a cloud: a link, an attempt at one, a put in parts.
    """
    context, vault = served.gateway.context, served.gateway.links.places._vault
    user = await context.accounts.get_user(user_id)
    link_id, state_hash = str(uuid.uuid4()), secrets.token_bytes(32)
    kept = LinkSecrets(
        subject=canaries["link subject"],
        label=canaries["link label"],
        settings={"endpoint": canaries["link setting"]},
        access_token=canaries["access token"],
        refresh_token=canaries["refresh token"],
    )
    asked = AttemptSecrets(
        verifier=canaries["verifier"],
        redirect_uri="https://us/back",
        scopes=(),
        return_to=canaries["return to"],
    )
    attempt = links.Attempt(
        state_hash, user_id, "pretend", None, await vault.seal_attempt(user, state_hash, asked), 2**50
    )
    link = LinkRow(
        id=link_id,
        user_id=user_id,
        kind="pretend",
        state="revoked",
        reason=None,
        secrets=await vault.seal_link(user_id, link_id, kept),
        revision=1,
        generation=1,
        created_at=1,
        refreshed_at=None,
        grant_ends_at=None,
        checked_at=None,
        ended_at=None,
    )
    async with context.catalog.write() as connection:
        await links.insert_attempt(connection, attempt, most=10)
        await links.insert_link(connection, link)
        placements, recordings = tables.placements, tables.recordings
        [placement] = await connection.execute(
            select(placements).where(placements.c.recording_id == recording)
        )
        [row] = await connection.execute(select(recordings).where(recordings.c.id == recording))
    leaf = await context.keyring.leaf(row.key_slot, row.leaf_index)
    place = (
        b"PUTS\x01"
        + uuid.UUID(recording).bytes
        + row.key_slot.to_bytes(8, "big")
        + row.leaf_index.to_bytes(4, "big")
        + bytes.fromhex(placement.blob_key)
    )
    session = seal_record(
        subkey(leaf, "put-session"), json.dumps({"upload": canaries["put session"]}).encode(), place
    )
    async with context.catalog.write() as connection:
        await connection.execute(
            update(tables.placements)
            .where(tables.placements.c.blob_key == placement.blob_key)
            .values(session=session)
        )
    async with context.catalog.write() as connection:
        # Nothing in this gateway goes on with it.
        await connection.execute(
            update(tables.placements)
            .where(tables.placements.c.blob_key == placement.blob_key)
            .values(session=None)
        )


def confirmed_of(world: World, canaries: Canaries, keys_found: set[bytes]) -> set[tuple[str, str]]:
    """
    Return which keyed hashes the attacker can tell to be somebody's.
    """
    wanted = [pair for of_column in LOOKED_UP.values() for pair in of_column]
    return {
        (space, name)
        for space, name in wanted
        if world.attacker.records.confirms(keys_found, space, canaries[name])
    }


async def test_nothing_of_an_erased_account_is_found_by_whoever_has_everything(
    either: World, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    canaries, others = hatch_all(), {**hatch_all(), "address": "203.0.113.7"}
    copies = 0

    async def back_up() -> None:
        nonlocal copies
        for which in ("catalog", "keys"):
            await either.store.copy(which, f"copy_{copies}")
        await either.store.tell_all(either.attacker)
        copies += 1

    def files() -> Iterator[Path]:
        yield from either.data_dir.parent.rglob("*")
        if "postgresql" in request.node.name:
            server: PostgresServer = request.getfixturevalue("postgresql_server")
            server.psql("CHECKPOINT")
            yield from server.folder.rglob("*")

    async def check_nowhere(logs: list[structlog.typing.EventDict]) -> None:
        output = capfd.readouterr()
        assert [] == found_in({**canaries, **others}, files(), repr(logs), output.out, output.err)

    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logs:
        async with either.served() as served:
            await back_up()
            ada = await live_a_life(served, canaries)
            await back_up()
            grace = await live_a_life(served, others)
            await back_up()

            # The attacker is good enough: he has all of it until then.
            loot = either.attack()
            user = uuid.UUID(ada.tokens["user"])
            assert user in loot.personal
            for column, names in PERSONAL.items():
                opened = b"\n".join(
                    loot.columns[column]
                    if column in FORMS
                    else [plaintext for details in loot.details.values() for plaintext in details]
                )
                missed = [name for name in names if canaries[name].encode() not in opened]
                assert [] == missed, column
            exported = b"\n".join(content for contents in loot.exported.values() for content in contents)
            copied = {name for names in EXPORTED.values() for name in names}
            assert set() == {name for name in copied if canaries[name].encode() not in exported}
            wanted = {pair for of_column in LOOKED_UP.values() for pair in of_column}
            assert wanted == confirmed_of(either, canaries, loot.keys)
            assert any(canaries["sound"].encode() in part for parts in loot.audio.values() for part in parts)
            # But an attempt to sign in he never opens.
            assert [] == either.attack(exhaustive=True).columns["sign_ins.sealed"]

            gone = await ada.mine("DELETE", "/v1/me?now=true")
            assert (200, "shredded") == (gone.status, gone.document["state"])
            await back_up()
            loot = either.attack(exhaustive=True)
            assert set() == known_to(loot, canaries)
            # He can still find out who was here, and the answer says so.
            assert "pending" == gone.document["look_ups"]["state"]
            assert wanted == confirmed_of(either, canaries, loot.keys)

            await served.placed()
            await served.gateway.look_ups.tick()
            await served.placed()
            await back_up()
            farewell = await ada.call("GET", gone.document["farewell"])
            assert ("purged", "gone") == (farewell.document["state"], farewell.document["look_ups"]["state"])
            assert [] == found_in(canaries, (), json.dumps([gone.document, farewell.document]))

            loot = either.attack(exhaustive=True)
            assert set() == known_to(loot, canaries)
            assert set() == confirmed_of(either, canaries, loot.keys)
            assert user not in loot.personal
            # Of whoever stays he has all as before, as far as it is still there.
            held = {name for column in PERSONAL.values() for name in column}
            assert held <= known_to(loot, others)
            assert set(LOOKED_UP["identities.look_up"]) == confirmed_of(either, others, loot.keys)

            either.clock.advance(7200)
            settings = served.gateway.settings.sign_in
            await SignInExpiry(served.gateway.context.catalog, either.clock, settings).sweep()
            again = Newcomer(served, number=others["number"])
            await again.sign_in()
            assert grace.tokens["user"] == again.tokens["user"]
        await check_nowhere(logs)
        # What was searched for is found where it lies in clear.
        assert found_in({"id": ada.tokens["user"]}, files())


def test_the_users_own_leaf_is_where_the_attacker_looks() -> None:
    assert 2**32 - 1 == USER_LEAF
