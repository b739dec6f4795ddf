"""
Refreshing: once at a time, among tasks and among nodes; stored before it is used; and what a crash in between leaves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import update

from gateway.api import AuthRevoked, Transient
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.catalog.tables import links
from gateway.services.link_secrets import LinkVault
from gateway.services.link_tokens import HeldTokens, LinkTokens, TokenKeeping, TokenSources
from gateway.services.oauth import TokenEndpoint
from tests.conftest import DatabaseUrls
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.http.link_client import Linker, gateway_for
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.pretend_drive import PretendDrive, PretendSettings, profile_of
from tests.support.waiting import until


class Nodes:
    """
    A link, and as many nodes as want its tokens.
    """

    def __init__(
        self, served: Served, drive: PretendDrive, clock: FakeClock, http: aiohttp.ClientSession, link_id: str
    ) -> None:
        self.context = served.gateway.context
        self.drive = drive
        self.clock = clock
        self.http = http
        self.link_id = link_id
        self.vault = LinkVault(self.context.catalog, self.context.keyring)

    async def row(self) -> LinkRow:
        async with self.context.catalog.read() as connection:
            link = await catalog.get_link(connection, self.link_id)
        assert link is not None
        return link

    async def node(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> LinkTokens:
        """
        Return the token source of another process.
        """
        limits = self.context.settings.links
        keeping = TokenKeeping(
            catalog=self.context.catalog,
            vault=self.vault,
            endpoint=TokenEndpoint(self.http, timeout_s=limits.token_timeout_s),
            clock=self.clock,
            limits=limits,
            sleep=sleep,
        )
        row = await self.row()
        settings = PretendSettings(**self.drive.settings())  # type: ignore[arg-type]
        sources = TokenSources(keeping)
        secrets = await self.vault.open_link(row)
        source = sources.of(row, secrets, profile_of(settings))
        assert source is sources.of(row, secrets, profile_of(settings))
        return source

    async def let_claims_run_out(self) -> None:
        """
        Do what time would.
        """
        async with self.context.catalog.write() as connection:
            await connection.execute(update(links).values(refreshing_until=1))

    def run_out(self) -> None:
        """
        Let the access token run out, as the gateway counts.
        """
        self.clock.advance(3600)
        self.drive.faults.requests.clear()

    @property
    def asked(self) -> int:
        return self.drive.faults.requests["token"]


@asynccontextmanager
async def _nodes(
    drive: PretendDrive, account: Account, data: Path, clock: FakeClock, urls: DatabaseUrls | None
) -> AsyncIterator[Nodes]:
    where = {} if urls is None else {"catalog_url": urls.catalog, "keys_url": urls.keys}
    with pytest.MonkeyPatch.context() as patches:
        async with (
            gateway_for(drive, data, patches, clock, **where) as served,
            aiohttp.ClientSession() as http,
        ):
            ada = await Linker.of_new_user(served, drive)
            link = await ada.link(account)
            drive.faults.requests.clear()
            yield Nodes(served, drive, clock, http, link["id"])


@pytest.fixture
async def nodes(
    drive: PretendDrive, account: Account, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Nodes]:
    async with _nodes(drive, account, tmp_path / "data", clock, None) as nodes:
        yield nodes


@pytest.fixture
async def on_each(
    drive: PretendDrive, account: Account, tmp_path: Path, clock: FakeClock, database_urls: DatabaseUrls
) -> AsyncIterator[Nodes]:
    """
    The same on each database, for facts in which that has a part.
    """
    async with _nodes(drive, account, tmp_path / "data", clock, database_urls) as nodes:
        yield nodes


async def test_a_token_serves_until_shortly_before_it_runs_out(nodes: Nodes) -> None:
    tokens = await nodes.node()
    first = await tokens.access_token()

    nodes.clock.advance(3600 - 301)
    assert first == await tokens.access_token()
    assert 0 == nodes.asked

    nodes.clock.advance(1)
    assert first != await tokens.access_token()
    assert 1 == nodes.asked


async def test_many_who_need_a_token_at_once_share_one_refresh(nodes: Nodes) -> None:
    tokens = await nodes.node()
    nodes.run_out()

    given = await asyncio.gather(*(tokens.access_token() for _ in range(20)))

    assert 1 == len(set(given))
    assert 1 == nodes.asked


async def test_many_nodes_that_need_a_token_at_once_refresh_once(on_each: Nodes) -> None:
    """
    With refresh tokens that die at their first use, a second refresh would end the link.
    """
    on_each.drive.oauth.rotates, on_each.drive.oauth.keeps_old = True, False
    each = [await on_each.node() for _ in range(4)]
    on_each.run_out()

    given = await asyncio.gather(*(tokens.access_token() for tokens in each for _ in range(3)))

    assert 1 == len(set(given))
    assert 1 == on_each.asked
    assert "ok" == (await on_each.row()).state


async def test_a_waiter_who_goes_leaves_the_others_theirs(nodes: Nodes) -> None:
    tokens = await nodes.node()
    nodes.run_out()
    waiters = [asyncio.create_task(tokens.access_token()) for _ in range(3)]
    await asyncio.sleep(0)

    waiters[0].cancel()

    assert 1 == len(set(await asyncio.gather(*waiters[1:])))
    assert waiters[0].cancelled()
    assert 1 == nodes.asked


async def test_a_refused_token_is_replaced_once(nodes: Nodes) -> None:
    tokens = await nodes.node()
    stale = await tokens.access_token()

    fresh = await asyncio.gather(*(tokens.access_token(stale=stale) for _ in range(5)))

    assert {stale} != set(fresh)
    assert 1 == len(set(fresh))
    assert fresh[0] == await tokens.access_token(stale=stale)
    assert 1 == nodes.asked


async def test_what_another_node_brought_is_used(nodes: Nodes) -> None:
    one, other = await nodes.node(), await nodes.node()
    nodes.run_out()

    token = await one.access_token()

    assert token == await other.access_token()
    assert 1 == nodes.asked


async def test_rotated_refresh_tokens_are_kept(nodes: Nodes) -> None:
    nodes.drive.oauth.rotates, nodes.drive.oauth.keeps_old = True, False
    tokens = await nodes.node()
    for _ in range(3):
        nodes.run_out()
        await tokens.access_token()

    nodes.run_out()
    await (await nodes.node()).access_token()

    assert "ok" == (await nodes.row()).state


async def test_nobody_is_given_a_token_that_is_not_stored(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = await nodes.node()
    nodes.run_out()
    monkeypatch.setattr(catalog, "replace_secrets", _lost)

    with pytest.raises(PowerCut):
        await tokens.access_token()

    assert 1 == nodes.asked


class PowerCut(BaseException):
    """
    Ends a node between the provider's answer and the store.
    """


async def _lost(*_: object, **__: object) -> bool:
    raise PowerCut


async def _cut_off(nodes: Nodes) -> None:
    """
    Let a node die with the provider's answer in hand.
    """
    nodes.run_out()
    tokens = await nodes.node()
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(catalog, "replace_secrets", _lost)
        with pytest.raises(PowerCut):
            await tokens.access_token()
    assert 1 == nodes.asked


async def test_after_a_crash_the_others_wait_for_the_claim_to_run_out_and_then_recover(
    on_each: Nodes,
) -> None:
    on_each.drive.oauth.rotates, on_each.drive.oauth.keeps_old = True, True
    await _cut_off(on_each)
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            await on_each.let_claims_run_out()

    await (await on_each.node(nap)).access_token()

    assert 3 == len(naps)
    assert 2 == on_each.asked
    assert "ok" == (await on_each.row()).state


async def test_after_a_crash_with_tokens_that_die_at_their_use_the_account_is_linked_anew(
    nodes: Nodes,
) -> None:
    nodes.drive.oauth.rotates, nodes.drive.oauth.keeps_old = True, False
    await _cut_off(nodes)
    await nodes.let_claims_run_out()

    with pytest.raises(AuthRevoked):
        await (await nodes.node()).access_token()

    assert "revoked" == (await nodes.row()).state


async def test_a_node_that_was_only_slow_does_not_end_the_link(
    on_each: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its claim ran out, another was refused because of that, and then it came back and stored what it had.
    """
    on_each.drive.oauth.rotates, on_each.drive.oauth.keeps_old = True, False
    slow, quick = await on_each.node(), await on_each.node()
    on_each.run_out()
    may_store = asyncio.Event()
    seal_link = on_each.vault.seal_link

    async def held_up(*given: object) -> bytes:
        await may_store.wait()
        return await seal_link(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(on_each.vault, "seal_link", held_up)
    waiting = asyncio.create_task(slow.access_token())
    await until(lambda: on_each.asked == 1)
    await on_each.let_claims_run_out()
    with pytest.raises(AuthRevoked):
        await quick.access_token()
    assert "revoked" == (await on_each.row()).state

    may_store.set()

    token = await waiting
    assert "ok" == (await on_each.row()).state
    assert token == await quick.access_token()


async def test_a_refusal_that_comes_after_another_nodes_success_counts_for_nothing(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.drive.oauth.rotates, nodes.drive.oauth.keeps_old = True, False
    quick, slow = await nodes.node(), await nodes.node()
    nodes.run_out()
    endpoint = slow._keeping.endpoint
    ask = endpoint.ask

    async def overtaken(*asked: object) -> object:
        await nodes.let_claims_run_out()
        await quick.access_token()
        return await ask(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(endpoint, "ask", overtaken)

    token = await slow.access_token()

    assert token == await quick.access_token()
    assert 2 == nodes.asked
    assert "ok" == (await nodes.row()).state


async def test_a_dead_grant_revokes_the_link_and_is_not_asked_again(nodes: Nodes, account: Account) -> None:
    tokens = await nodes.node()
    nodes.run_out()
    nodes.drive.oauth.revoke(account)

    for _ in range(3):
        with pytest.raises(AuthRevoked):
            await tokens.access_token()

    assert 1 == nodes.asked
    row = await nodes.row()
    assert ("revoked", "backend-auth-revoked") == (row.state, row.reason)


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.CUT_BEFORE, Effect.THROTTLE])
async def test_a_token_server_that_fails_leaves_the_link_as_it_is(nodes: Nodes, effect: Effect) -> None:
    tokens = await nodes.node()
    nodes.run_out()
    nodes.drive.faults.order("token", effect)

    with pytest.raises(Transient):
        await tokens.access_token()

    assert "ok" == (await nodes.row()).state
    # The claim was given back, so nobody waits for it.
    await (await nodes.node()).access_token()


async def test_an_unlinked_account_brings_no_token(on_each: Nodes) -> None:
    tokens = await on_each.node()
    on_each.run_out()
    async with on_each.context.catalog.write() as connection:
        await catalog.end_link(connection, on_each.link_id, at=on_each.clock.now_ms())

    with pytest.raises(AuthRevoked):
        await tokens.access_token()

    assert 0 == on_each.asked


async def test_a_held_token_is_never_refreshed() -> None:
    held = HeldTokens("word")

    assert "word" == await held.access_token()
    assert "word" == await held.access_token(stale="another")
    with pytest.raises(AuthRevoked):
        await held.access_token(stale="word")
    assert "word" not in repr(held)
