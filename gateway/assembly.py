"""
Parts of the object graph that the daemon and its commands share: what links accounts, and what people sign in with.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from gateway.api import IdentityContext
from gateway.api.backend import Backend
from gateway.backends.addresses import PublicAddresses
from gateway.backends.loader import PluginSet
from gateway.backends.measured import Meters
from gateway.backends.near import NearBlobs
from gateway.base.clock import Clock
from gateway.catalog.jobs import enqueue_job, wake_jobs_of_place
from gateway.catalog.placements import blobs_at
from gateway.database import Database
from gateway.http.context import People
from gateway.http.metrics import Metrics
from gateway.keyring import Keyring
from gateway.services.accounts import AccountService
from gateway.services.codes import CodeSignIn
from gateway.services.consents import ConsentSignIn
from gateway.services.devices import DeviceService
from gateway.services.identities import IdentityService
from gateway.services.link_connections import Connector, provider_session
from gateway.services.link_health import LinkHealth
from gateway.services.link_kinds import LinkKinds
from gateway.services.link_notes import LinkNotes
from gateway.services.link_secrets import LinkVault
from gateway.services.link_tokens import TokenKeeping, TokenSources
from gateway.services.link_trials import LinkTrials
from gateway.services.link_views import LinkViews
from gateway.services.linked_places import LinkedPlaces
from gateway.services.linking import LinkingService
from gateway.services.look_ups import LookUps
from gateway.services.oauth import TokenEndpoint
from gateway.services.openid import OpenIdClient
from gateway.services.sign_in_attempts import Attempts
from gateway.services.sign_in_limits import SignInLimits
from gateway.services.ways import Ways
from gateway.services.work import WorkBell
from gateway.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """
    What has to do with the accounts that users link.
    """

    places: LinkedPlaces
    linking: LinkingService
    views: LinkViews
    health: LinkHealth


async def open_links(
    settings: Settings,
    stack: AsyncExitStack,
    catalog: Database,
    keyring: Keyring,
    plugins: PluginSet,
    home: Backend,
    metrics: Metrics,
    clock: Clock,
    bell: WorkBell,
    *,
    near_home: NearBlobs | None = None,
) -> Links:
    """
    Build what reaches users' own accounts.
    """

    async def wake_jobs(link_id: str) -> None:
        async with catalog.write() as connection:
            await wake_jobs_of_place(connection, link_id)
            if await blobs_at(connection, link_id, states=("left",), limit=1):
                await enqueue_job(connection, "sweep-left", link_id)
        bell.ring()

    limits = settings.links
    kinds = LinkKinds(plugins, limits.kinds)
    vault = LinkVault(catalog, keyring)
    notes = LinkNotes(catalog, clock, on_recovered=wake_jobs)
    http = await stack.enter_async_context(provider_session())
    connector = Connector(
        plugins=plugins,
        http=http,
        addresses=PublicAddresses(allow_private=limits.allow_private_addresses, allow_http=limits.allow_http),
        limits=limits,
        calls=settings.backends,
        clock=clock,
        meters=Meters(calls=metrics.backend_calls, duration=metrics.backend_duration),
    )
    endpoint = TokenEndpoint(http, timeout_s=limits.token_timeout_s)
    keeping = TokenKeeping(catalog=catalog, vault=vault, endpoint=endpoint, clock=clock, limits=limits)
    places = LinkedPlaces(
        home, catalog, vault, kinds, connector, TokenSources(keeping), notes, near_home=near_home
    )
    stack.push_async_callback(places.close)
    health = LinkHealth(catalog, places, notes, clock, limits)
    trials = LinkTrials(catalog, connector, endpoint)
    return Links(
        places=places,
        linking=LinkingService(catalog, vault, kinds, trials, keeping, places, notes, clock, limits),
        views=LinkViews(catalog, vault, kinds, notes, health),
        health=health,
    )


async def open_people(
    settings: Settings,
    stack: AsyncExitStack,
    catalog: Database,
    keyring: Keyring,
    plugins: PluginSet,
    accounts: AccountService,
    clock: Clock,
) -> People:
    """
    Build what people sign in with.
    """
    limits = settings.sign_in
    http = await stack.enter_async_context(provider_session())
    context = IdentityContext(http=http, is_production=settings.server.production)
    ways = await Ways.open(plugins, limits.kinds, context, stack)
    look_ups = LookUps(catalog, keyring)
    counts = SignInLimits(catalog, look_ups, clock, limits)
    attempts = Attempts(catalog, clock, lifetime_s=limits.attempt_lifetime_s)
    openid = OpenIdClient(http, clock, timeout_s=settings.links.token_timeout_s)
    return People(
        ways=ways,
        codes=CodeSignIn(ways, attempts, counts, clock, limits),
        consents=ConsentSignIn(ways, attempts, openid, limits),
        identities=IdentityService(catalog, keyring, accounts, look_ups, clock, is_open=limits.open),
        devices=DeviceService(catalog, keyring, clock, limits),
        counts=counts,
        clock=clock,
    )
