"""
What the handlers of the wire share: the services and the metrics.
"""

import uuid
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.database import Database
from gateway.http.metrics import Metrics
from gateway.keyring import Keyring
from gateway.services.accounts import AccountService
from gateway.services.announcing import Announcing
from gateway.services.audit import AuditLog
from gateway.services.audit_check import AuditCheck
from gateway.services.codes import CodeSignIn
from gateway.services.consents import ConsentSignIn
from gateway.services.day_counts import DayCounts
from gateway.services.devices import DeviceService
from gateway.services.disclosures import DisclosureRegister
from gateway.services.erasure import ErasureService
from gateway.services.errors import NotFound
from gateway.services.exports import ExportService
from gateway.services.holds import HoldService
from gateway.services.identities import IdentityService
from gateway.services.leaving import LeavingService
from gateway.services.link_views import LinkViews
from gateway.services.linking import LinkingService
from gateway.services.mail_preferences import MailPreferences
from gateway.services.moving import MoveService
from gateway.services.notices import Notices
from gateway.services.operator_desk import OperatorDesk
from gateway.services.operator_sign_in import OperatorSignIn
from gateway.services.playback import PlaybackService
from gateway.services.policies import PolicyService
from gateway.services.recordings import RecordingService
from gateway.services.retention import RetentionService
from gateway.services.routing import RoutingService
from gateway.services.sign_in_limits import SignInLimits
from gateway.services.unused_accounts import UnusedAccounts
from gateway.services.uploads import UploadService
from gateway.services.ways import Ways
from gateway.services.whole_uploads import WholeUploads
from gateway.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """
    What has to do with signing in.
    """

    ways: Ways
    codes: CodeSignIn
    consents: ConsentSignIn
    identities: IdentityService
    devices: DeviceService
    counts: SignInLimits
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """
    What has to do with the people who run the service.
    """

    sign_in: OperatorSignIn
    desk: OperatorDesk
    audit: AuditLog
    audit_check: AuditCheck
    disclosures: DisclosureRegister
    counts: DayCounts
    holds: HoldService
    retention: RetentionService
    unused: UnusedAccounts
    announcing: Announcing


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """
    The object graph that `gateway.app` built, as far as the wire needs it.
    """

    settings: Settings
    catalog: Database
    keyring: Keyring
    accounts: AccountService
    people: People
    operating: Operating
    uploads: UploadService
    whole_uploads: WholeUploads
    recordings: RecordingService
    playback: PlaybackService
    erasure: ErasureService
    leaving: LeavingService
    routing: RoutingService
    moves: MoveService
    linking: LinkingService
    links: LinkViews
    notices: Notices
    preferences: MailPreferences
    policies: PolicyService
    exports: ExportService
    metrics: Metrics


CONTEXT: Final = web.AppKey("context", Context)


def context_of(request: web.Request) -> Context:
    """
    Return the context of the application that serves *request*.
    """
    return request.app[CONTEXT]


def path_id(request: web.Request, what: str) -> RecordingId:
    """
    Return the id in the request's path.

    Raises:
        NotFound: it is no UUID, so there is nothing of that id.
    """
    text = request.match_info["id"]
    try:
        found = uuid.UUID(text)
    except ValueError:
        raise NotFound(f"there is no such {what}") from None
    if str(found) != text.lower():
        raise NotFound(f"there is no such {what}")
    return RecordingId(found)
