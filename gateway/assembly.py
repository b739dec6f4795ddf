"""
Parts of the object graph: what links accounts, what people sign in with, and what tells them things.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from yarl import URL

from gateway.api import IdentityContext
from gateway.api.backend import Backend, BackendContext
from gateway.backends.addresses import PublicAddresses
from gateway.backends.hosted import hosted
from gateway.backends.loader import PluginSet, load_plugins
from gateway.backends.measured import Meters
from gateway.backends.near import NearBlobs
from gateway.base.clock import Clock, SystemClock
from gateway.base.data_directory import DataDirectory
from gateway.base.errors import ConfigurationError
from gateway.base.secret import Secret
from gateway.catalog.jobs import enqueue_job, wake_jobs_of_place
from gateway.catalog.placements import blobs_at
from gateway.console import open_databases
from gateway.database import Database
from gateway.http.context import Operating, People
from gateway.http.metrics import Metrics
from gateway.keyring import FileRootStore, Keyring
from gateway.mail.errors import BadAddress
from gateway.mail.messages import Sender, mail_address
from gateway.mail.server import MailServer
from gateway.services.accounts import AccountService
from gateway.services.announcing import Announcing
from gateway.services.audit import AuditLog
from gateway.services.audit_check import AuditCheck
from gateway.services.checking import CheckService
from gateway.services.codes import CodeSignIn
from gateway.services.consents import ConsentSignIn
from gateway.services.copying import CopyService
from gateway.services.day_counts import DayCounts
from gateway.services.devices import DeviceService
from gateway.services.disclosures import DisclosureRegister
from gateway.services.expiry_notices import ExpiryNotices
from gateway.services.holds import HoldService
from gateway.services.identities import IdentityService
from gateway.services.link_connections import Connector, provider_session
from gateway.services.link_health import LinkHealth
from gateway.services.link_kinds import LinkKinds
from gateway.services.link_notes import LinkNotes
from gateway.services.link_notices import LinkNotices
from gateway.services.link_secrets import LinkVault
from gateway.services.link_tokens import TokenKeeping, TokenSources
from gateway.services.link_trials import LinkTrials
from gateway.services.link_views import LinkViews
from gateway.services.linked_places import LinkedPlaces
from gateway.services.linking import LinkingService
from gateway.services.look_ups import LookUps
from gateway.services.mail_preferences import MailPreferences
from gateway.services.mailing import Mailing
from gateway.services.notices import Notices
from gateway.services.oauth import TokenEndpoint
from gateway.services.openid import OpenIdClient
from gateway.services.operator_desk import OperatorDesk
from gateway.services.operator_sign_in import OperatorSignIn
from gateway.services.places import HOME
from gateway.services.policies import PolicyService
from gateway.services.purging import PurgeService
from gateway.services.putting import BlobPutter, PartBudget
from gateway.services.retention import RetentionService
from gateway.services.sign_in_attempts import Attempts
from gateway.services.sign_in_limits import SignInLimits
from gateway.services.unused_accounts import UnusedAccounts
from gateway.services.ways import Ways
from gateway.services.work import WorkBell
from gateway.settings import Settings
from gateway.spool import Spool

log = structlog.get_logger()


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
    link_notices = LinkNotices(
        catalog,
        vault,
        kinds,
        Notices(catalog, keyring, clock, has_mail=bool(settings.mail.host)),
        after_s=settings.notices.link_trouble_after_s,
    )
    health = LinkHealth(catalog, places, notes, link_notices, clock, limits)
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
    disclosures: DisclosureRegister,
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
        identities=IdentityService(
            catalog,
            keyring,
            accounts,
            look_ups,
            disclosures,
            ways.recipients(),
            clock,
            is_open=limits.open,
        ),
        devices=DeviceService(catalog, keyring, clock, limits),
        counts=counts,
        clock=clock,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """
    What has to do with telling users.

    *mailing* is None where there is no mail server.
    """

    notices: Notices
    preferences: MailPreferences
    announcing: Announcing
    policies: PolicyService
    expiry: ExpiryNotices
    mailing: Mailing | None


def open_telling(
    settings: Settings,
    stack: AsyncExitStack,
    catalog: Database,
    keyring: Keyring,
    accounts: AccountService,
    metrics: Metrics,
    clock: Clock,
) -> Telling:
    """
    Build what tells users.

    Raises:
        ConfigurationError: a setting of the mail server's is wrong.
    """
    notices = Notices(catalog, keyring, clock, has_mail=bool(settings.mail.host))
    preferences = MailPreferences(catalog, keyring, clock)
    announcing = Announcing(catalog, notices, clock, settings.notices)
    mailing = None
    if settings.mail.host:
        server = open_mail_server(settings)
        stack.push_async_callback(server.close)
        mailing = Mailing(
            catalog,
            notices,
            accounts,
            preferences,
            server,
            clock,
            settings.mail,
            base=settings.server.public_url.rstrip("/"),
            on_outcome=lambda outcome: metrics.mails.labels(outcome).inc(),
        )
    return Telling(
        notices=notices,
        preferences=preferences,
        announcing=announcing,
        policies=PolicyService(catalog, announcing, clock),
        expiry=ExpiryNotices(catalog, notices, settings.retention, settings.notices),
        mailing=mailing,
    )


def open_mail_server(settings: Settings) -> MailServer:
    """
    Return the mail server that is set.

    Raises:
        ConfigurationError: what is set does not do; the message names the setting.
    """
    mail = settings.mail
    our_name = URL(settings.server.public_url).host
    if our_name is None:
        raise ConfigurationError(
            "setting server.public_url: is needed with mail.host, for mails lead to pages by it"
        )
    sender = Sender(
        address=_sender_address("from_address", mail.from_address),
        name=mail.from_name,
        reply_to=_sender_address("reply_to", mail.reply_to) if mail.reply_to else "",
    )
    if mail.security == "none" and (settings.server.production or mail.user_name):
        raise ConfigurationError(
            "setting mail.security: none sends in clear, and is refused in production and with a user name"
        )
    password = mail.password
    if mail.password_file:
        try:
            password = Path(mail.password_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"setting mail.password_file: {error}") from None
    if bool(mail.user_name) != bool(password):
        raise ConfigurationError(
            "settings mail.user_name and mail.password: one does not go without the other"
        )
    return MailServer(
        sender,
        host=mail.host,
        port=mail.port,
        security=mail.security,
        user_name=mail.user_name,
        password=Secret(password.encode()) if password else None,
        ca_file=Path(mail.ca_file) if mail.ca_file else None,
        our_name=our_name,
        timeout_s=mail.timeout_s,
    )


def _sender_address(setting: str, value: str) -> str:
    try:
        address = mail_address(value)
    except BadAddress:
        address = ""
    if not address.isascii() or not address:
        raise ConfigurationError(f"setting mail.{setting}: is no e-mail address")
    return address


async def open_operating(
    settings: Settings,
    stack: AsyncExitStack,
    catalog: Database,
    keyring: Keyring,
    accounts: AccountService,
    people: People,
    disclosures: DisclosureRegister,
    counts: DayCounts,
    audit: AuditLog,
    holds: HoldService,
    retention: RetentionService,
    unused: UnusedAccounts,
    clock: Clock,
    bell: WorkBell,
) -> Operating:
    """
    Build what operators work with.

    Raises:
        ConfigurationError: the section [operators] is wrong.
    """
    http = await stack.enter_async_context(provider_session())
    return Operating(
        sign_in=OperatorSignIn(
            catalog,
            keyring,
            audit,
            OpenIdClient(http, clock, timeout_s=settings.links.token_timeout_s),
            LookUps(catalog, keyring),
            clock,
            settings.operators,
            is_production=settings.server.production,
        ),
        desk=OperatorDesk(
            catalog,
            accounts,
            people.identities,
            people.devices,
            holds,
            disclosures,
            audit,
            clock,
            bell,
        ),
        disclosures=disclosures,
        counts=counts,
        audit=audit,
        audit_check=AuditCheck(catalog, keyring, audit),
        holds=holds,
        retention=retention,
        unused=unused,
    )


async def open_home(
    settings: Settings, stack: AsyncExitStack, metrics: Metrics, clock: Clock
) -> tuple[PluginSet, Backend, NearBlobs | None]:
    """
    Load the plugins, and connect the operator's own backend; with its blobs as files, where they are files of this machine.
    """
    plugins = load_plugins(
        wanted={settings.home.kind, *settings.links.kinds},
        wanted_identities=settings.sign_in.kinds,
        disabled=settings.plugins.disabled,
        pinned=settings.plugins.pinned,
    )
    for fault in plugins.faults:
        log.error("plugin.left_out", plugin=fault.plugin, reason=str(fault), exc_info=fault.cause)
    home_settings = dict(settings.home.settings)
    if settings.home.kind == "local":
        home_settings.setdefault("root", str(DataDirectory(settings.data_dir).blobs))
    connection = await stack.enter_async_context(
        plugins.connect(settings.home.kind, BackendContext(account=HOME), home_settings)
    )
    meters = Meters(calls=metrics.backend_calls, duration=metrics.backend_duration)
    home = hosted(connection, kind=settings.home.kind, limits=settings.backends, clock=clock, meters=meters)
    await home.probe()
    open_file = plugins.kinds[settings.home.kind].open_file
    if open_file is None:
        return plugins, home, None
    near = NearBlobs(
        partial(open_file, connection),
        kind=settings.home.kind,
        meters=meters,
        clock=clock,
        most_open=settings.playback.open_files,
        idle_s=settings.playback.open_file_idle_s,
        threads=settings.playback.threads,
    )
    stack.callback(near.close)
    return plugins, home, near


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """
    What commands work with that look at the places themselves.
    """

    places: LinkedPlaces
    checks: CheckService


@asynccontextmanager
async def open_reach(settings: Settings) -> AsyncIterator[Reach]:
    """
    Open what commands need that speak to the places themselves, beside a running daemon or alone.

    Raises:
        RefusesToServe: the keys say that going on would do harm.
        BackendError: the home backend does not connect.
    """
    clock = SystemClock()
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    async with AsyncExitStack() as stack:
        catalog, keys = await open_databases(settings, stack)
        keyring = await Keyring.attach(keys, FileRootStore(directory.root), clock, block_size=1)
        stack.push_async_callback(keyring.close)
        spool = Spool.open(directory.spool, min_free_bytes=0, max_bytes=0, threads=1)
        stack.callback(spool.close)
        metrics, bell = Metrics(), WorkBell()
        plugins, home, _ = await open_home(settings, stack, metrics, clock)
        places = (
            await open_links(settings, stack, catalog, keyring, plugins, home, metrics, clock, bell)
        ).places
        copies = CopyService(
            catalog,
            keyring,
            spool,
            places,
            BlobPutter(catalog, keyring, PartBudget(settings.placement.part_memory_bytes)),
            PurgeService(catalog, spool, places, clock),
            DisclosureRegister(catalog, keyring, AuditLog(catalog, keyring, clock), clock),
            clock,
            bell,
            default_route=settings.placement.default_route,
        )
        yield Reach(places=places, checks=CheckService(catalog, keyring, places, copies, clock, bell))
