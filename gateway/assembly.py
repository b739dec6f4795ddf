"""
Parts of the object graph: what links accounts, what people sign in with, what tells them things, and what they take away.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog
from yarl import URL

from gateway.api import IdentityContext
from gateway.api.backend import Backend
from gateway.backends.addresses import PublicAddresses
from gateway.backends.loader import PluginSet
from gateway.backends.measured import Meters
from gateway.backends.near import NearBlobs
from gateway.base.clock import Clock
from gateway.base.errors import ConfigurationError
from gateway.base.secret import Secret
from gateway.catalog.jobs import enqueue_job, wake_jobs_of_place
from gateway.catalog.placements import blobs_at
from gateway.database import Database
from gateway.http.context import Operating, People
from gateway.http.metrics import Metrics
from gateway.keyring import Keyring
from gateway.mail.errors import BadAddress
from gateway.mail.messages import Sender, mail_address
from gateway.mail.server import MailServer
from gateway.services.accounts import AccountService
from gateway.services.announcing import Announcing
from gateway.services.audit import AuditLog
from gateway.services.audit_check import AuditCheck
from gateway.services.codes import CodeSignIn
from gateway.services.consents import ConsentSignIn
from gateway.services.day_counts import DayCounts
from gateway.services.devices import DeviceService
from gateway.services.disclosures import DisclosureRegister
from gateway.services.expiry_notices import ExpiryNotices
from gateway.services.export_contents import ExportContents
from gateway.services.export_making import ExportMaking
from gateway.services.export_reading import ArchiveReader
from gateway.services.exports import ExportService
from gateway.services.holds import HoldService
from gateway.services.identities import IdentityService
from gateway.services.leaf_choice import UnusedLeaves
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
from gateway.services.look_up_replacement import LookUpReplacement
from gateway.services.look_ups import LookUps
from gateway.services.mail_preferences import MailPreferences
from gateway.services.mailing import Mailing
from gateway.services.notices import Notices
from gateway.services.oauth import TokenEndpoint
from gateway.services.openid import OpenIdClient
from gateway.services.operator_desk import OperatorDesk
from gateway.services.operator_sign_in import OperatorSignIn
from gateway.services.personal_data import PersonalData
from gateway.services.playback import PlaybackService
from gateway.services.policies import PolicyService
from gateway.services.retention import RetentionService
from gateway.services.sealed_reading import SealedReading
from gateway.services.sign_in_attempts import Attempts
from gateway.services.sign_in_limits import SignInLimits
from gateway.services.unused_accounts import UnusedAccounts
from gateway.services.ways import Ways
from gateway.services.work import Courtesy, WorkBell
from gateway.settings import Settings

log = structlog.get_logger()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """
    What has to do with exports.
    """

    service: ExportService
    making: ExportMaking


def open_exports(
    settings: Settings,
    data: PersonalData,
    leaves: UnusedLeaves,
    playback: PlaybackService,
    sealed: SealedReading,
    bell: WorkBell,
    courtesy: Courtesy,
) -> Exports:
    """
    Build what makes exports, of what knows all that is personal.
    """
    limits = settings.exports
    contents = ExportContents(data.catalog, data.keyring)
    reader = ArchiveReader(data.catalog, contents, playback, sealed)
    return Exports(
        service=ExportService(
            data.catalog, data.keyring, leaves, data.erasure, reader, data.clock, bell, limits
        ),
        making=ExportMaking(
            data.catalog, data.keyring, contents, data, playback, sealed, data.clock, limits, courtesy
        ),
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
    bell: WorkBell,
) -> tuple[People, LookUpReplacement]:
    """
    Build what people sign in with, and what replaces the key by which they are found.
    """
    limits = settings.sign_in
    http = await stack.enter_async_context(provider_session())
    context = IdentityContext(http=http, is_production=settings.server.production)
    ways = await Ways.open(plugins, limits.kinds, context, stack)
    look_ups = LookUps(catalog, keyring)
    counts = SignInLimits(catalog, look_ups, clock, limits)
    attempts = Attempts(catalog, clock, lifetime_s=limits.attempt_lifetime_s)
    openid = OpenIdClient(http, clock, timeout_s=settings.links.token_timeout_s)
    identities = IdentityService(
        catalog,
        keyring,
        accounts,
        look_ups,
        disclosures,
        ways.recipients(),
        clock,
        is_open=limits.open,
    )
    replacement = LookUpReplacement(catalog, keyring, look_ups, identities, clock, bell, settings.leaving)
    people = People(
        ways=ways,
        codes=CodeSignIn(ways, attempts, counts, clock, limits),
        consents=ConsentSignIn(ways, attempts, openid, limits),
        identities=identities,
        devices=DeviceService(catalog, keyring, clock, limits),
        counts=counts,
        clock=clock,
    )
    return people, replacement


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
    announcing: Announcing,
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
        announcing=announcing,
    )
