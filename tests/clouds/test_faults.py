"""
Every fault at every cloud: a recording gets there once and whole, or waits there for its user, and nothing tells a token.

What comes of each stands in docs/plugins/faults.md; ``pytest tests/clouds/test_faults.py --write-faults`` writes it anew.
"""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.testing.sources import pattern
from tests.clouds.conftest import KINDS
from tests.clouds.world import LinkedAccount, World, world
from tests.emulators.cloud import Cloud
from tests.emulators.faults import Effect
from tests.emulators.oauth import CLIENT_SECRET
from tests.emulators.s3_front import S3Front
from tests.http.phone import Phone, blob_files
from tests.support.faults_table import cells_of, write_cell
from tests.support.seaweedfs import SECRET_ACCESS_KEY

# How the test hands megabytes to aiohttp is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

CONTENT = pattern(11_000_000)
"""Three parts at every cloud."""

PART_SIZES = {"gdrive": 4 << 20, "onedrive": 13 * 327_680, "dropbox": 4 << 20, "s3": 5 << 20}
COMMITS_BY_ITS_LAST_PART = {"gdrive", "onedrive"}
TAKES_ALL_OR_NOTHING = {"dropbox", "s3"}
KNOWS_NO_TOKENS_IN_PARTS = {"onedrive", "s3"}

MOST_ROUNDS = 15
BOUNDS = (1.2, 2.6, 4, 6)
"""How much a document can say of how much was sent: what was on its way when a connection broke is chance."""

Logs = list[MutableMapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """
    One fault: how it is brought about, and how it is over again, where it does not pass by itself.
    """

    name: str
    arrange: Callable[[LinkedAccount], None]
    expected: str = "placed"
    mend: Callable[[LinkedAccount], None] | None = None


def ordered(effect: Effect, operation: str = "append", **options: Any) -> Callable[[LinkedAccount], None]:
    return lambda account: account.cloud.faults.order(operation, effect, **options)


def the_last_answer_is_lost(account: LinkedAccount) -> None:
    if account.cloud.kind in COMMITS_BY_ITS_LAST_PART:
        account.cloud.faults.order("append", Effect.LOSE_ANSWER, after=2)
    else:
        account.cloud.faults.order("commit", Effect.LOSE_ANSWER)


def listings_lag(account: LinkedAccount) -> None:
    account.cloud.listing_lag_s = 3600
    the_last_answer_is_lost(account)


def the_token_runs_out(account: LinkedAccount) -> None:
    if not isinstance(account.cloud, S3Front):
        account.cloud.oauth.expire_access_tokens()
        operation = "begin" if account.cloud.kind in KNOWS_NO_TOKENS_IN_PARTS else "append"
        account.cloud.faults.order(operation, Effect.EXPIRE_TOKEN)


CASES = [
    Case("cut before a part", ordered(Effect.CUT_BEFORE, after=1)),
    Case("cut in the middle of a part", ordered(Effect.CUT_IN_BODY, after=1, amount=1_000_000)),
    Case("the answer to a part is lost", ordered(Effect.LOSE_ANSWER, after=1)),
    Case("the answer to the last step is lost", the_last_answer_is_lost),
    Case("the answer is lost, and listings lag an hour", listings_lag),
    Case("less is taken than was sent", ordered(Effect.TAKE_LESS, after=1, amount=1_310_720)),
    Case("too many requests, twice", ordered(Effect.THROTTLE, times=2, amount=7)),
    Case("too many requests at the beginning", ordered(Effect.THROTTLE, "begin", amount=60)),
    Case("the provider fails three times", ordered(Effect.FAIL, times=3)),
    Case("the provider fails for long", ordered(Effect.FAIL, after=1, times=9)),
    Case("no answer comes", ordered(Effect.STALL, after=1)),
    Case("the token runs out on the way", the_token_runs_out),
    Case("the upload is forgotten", ordered(Effect.FAIL, after=1, times=4)),
    Case("the grant is revoked", LinkedAccount.revoke, "waits: revoked"),
    Case("the account is full", LinkedAccount.fill, "waits: over_quota", LinkedAccount.free),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_comes_of_a_fault_is_what_the_table_says(
    tmp_path: Path,
    new_cloud: Callable[[str], Cloud],
    kind: str,
    case: Case,
    pytestconfig: pytest.Config,
    logs: Logs,
) -> None:
    cloud = _in_parts(new_cloud(kind), PART_SIZES[kind])
    async with world(tmp_path, cloud, backends={"put_timeout_s": 2}) as there:
        outcome = await outcome_of(there, case, logs)
    if pytestconfig.getoption("--write-faults"):
        write_cell(kind, case.name, outcome)
    told = cells_of(kind)[case.name]
    assert _parted(outcome)[0] == _parted(told)[0]
    assert _parted(outcome)[1] <= _parted(told)[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_has_every_fault_and_no_other(kind: str) -> None:
    assert [case.name for case in CASES] == list(cells_of(kind))


async def outcome_of(there: World, case: Case, logs: Logs) -> str:
    """
    Place a recording while *case* goes wrong, check that nothing is lost, and say in short what came of it.
    """
    phone, [account] = await there.routed()
    cloud = account.cloud
    case.arrange(account)
    before = cloud.faults.requests.total(), cloud.upload_bytes
    recording = await phone.record(CONTENT)
    if case.name == "the upload is forgotten":
        await there.served.placed()
        _forget(account)
    rounds = await there.worked(rounds=MOST_ROUNDS)
    [home] = blob_files(there.served)
    size = home.stat().st_size
    told = str(logs) + str([job.last_error for job in await there.jobs()])
    assert [] == [secret for secret in secrets_of(cloud) if secret in told]
    state = (await there.copies(phone, recording))[account.link_id]
    assert CONTENT == (await phone.audio(recording)).body
    assert rounds < MOST_ROUNDS
    if case.expected == "placed":
        assert "placed" == state, [job.last_error for job in await there.jobs()]
        assert cloud.faults.are_spent
    else:
        assert "pending" == state
        [link] = await there.links(phone)
        assert case.expected == f"waits: {link['state']}", link
        assert link["what_to_do"]
        await _mended(there, phone, account, case)
        assert "placed" == (await there.copies(phone, recording))[account.link_id]
    requests = cloud.faults.requests.total() - before[0]
    sent = (cloud.upload_bytes - before[1]) / size
    assert requests < 60
    cloud.listing_lag_s = 0
    [key] = account.keys
    assert home.read_bytes() == account.content(key)
    assert [] == await there.jobs()
    bound = next(bound for bound in BOUNDS if sent < bound)
    return f"{case.expected}; less than {bound} times its size sent"


def _parted(outcome: str) -> tuple[str, float]:
    """
    Return what came of it, and the bound on what was sent.
    """
    what, _, sent = outcome.partition("; less than ")
    return what, float(sent.partition(" ")[0])


def secrets_of(cloud: Any) -> list[str]:
    """
    Return all that authorises anybody to do anything there.
    """
    if isinstance(cloud, S3Front):
        return [SECRET_ACCESS_KEY]
    refreshing = [token for grant in cloud.oauth.grants for token in grant.refresh_tokens]
    secrets = [*cloud.oauth.issued, *refreshing, CLIENT_SECRET]
    assert len(secrets) >= 2
    return secrets


def _in_parts(cloud: Any, part_size: int) -> Any:
    """
    Have the cloud's plugin send parts of that size.
    """
    settings = cloud.settings
    cloud.settings = lambda: {**settings(), "part_size": part_size}
    return cloud


def _forget(account: LinkedAccount) -> None:
    if isinstance(account.cloud, S3Front):
        account.cloud.forget_sessions(account.account)
    else:
        account.cloud.clock.advance(30 * 86_400)


async def _mended(there: World, phone: Phone, account: LinkedAccount, case: Case) -> None:
    """
    Do what the user would, and see that what was set aside goes on by itself.
    """
    if case.mend is not None:
        case.mend(account)
        answer = await phone.ask("POST", f"/v1/links/{account.link_id}/check")
        assert "ok" == answer.document["state"], answer.document
    else:
        await there.relinked(phone, account)
    await there.worked(rounds=MOST_ROUNDS)
