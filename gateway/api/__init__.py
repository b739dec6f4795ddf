"""
The plugin contract: all that a storage plugin may know of the gateway.

A plugin is a distribution with an entry point in the group `ENTRY_POINT_GROUP`.
The entry point names a module that implements `gateway_register_backends`, marked with `hookimpl`:

    from gateway.api import API_VERSION, BackendKind, hookimpl

    @hookimpl
    def gateway_register_backends() -> list[BackendKind[Settings]]:
        return [BackendKind(name="tape", api_version=API_VERSION, settings_type=Settings, connect=connect)]

Everything a plugin needs is imported from here; which module it lies in is no part of the promise.
The contract knows neither keys nor users nor recordings: a backend keeps opaque, already sealed bytes.

A way of signing in comes the same way, as an `IdentityKind` from `gateway_register_identities`.
"""

from gateway.api.backend import Backend, BackendContext, BackendKind, Quota, Traits
from gateway.api.blobs import BlobKey, BlobRef, BlobSource, BlobStat, Span, as_blob_key, new_blob_key
from gateway.api.errors import (
    AccessDenied,
    AuthRevoked,
    BackendError,
    Conflict,
    Disposition,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Transient,
    Unsupported,
    translated,
)
from gateway.api.hookspecs import ENTRY_POINT_GROUP, IDENTITY_ENTRY_POINT_GROUP, PROJECT, hookimpl
from gateway.api.identity import (
    Channel,
    CodeGone,
    CodeProvider,
    IdentityContext,
    IdentityError,
    IdentityKind,
    NumberRefused,
    OpenIdProfile,
    ProviderDown,
    ProviderMisconfigured,
    TooManyCodes,
)
from gateway.api.lending import AddressRule, ThreadLane, TokenSource
from gateway.api.oauth import AccountIdentity, Grant, OAuthProfile, TokenRequest
from gateway.api.puts import PutSession, ResumablePuts
from gateway.api.sending import drop_put, no_pieces, parts_of, settled
from gateway.api.versions import API_VERSION, SUPPORTED_API_VERSIONS

__all__ = [
    "API_VERSION",
    "ENTRY_POINT_GROUP",
    "IDENTITY_ENTRY_POINT_GROUP",
    "PROJECT",
    "SUPPORTED_API_VERSIONS",
    "AccessDenied",
    "AccountIdentity",
    "AddressRule",
    "AuthRevoked",
    "Backend",
    "BackendContext",
    "BackendError",
    "BackendKind",
    "BlobKey",
    "BlobRef",
    "BlobSource",
    "BlobStat",
    "Channel",
    "CodeGone",
    "CodeProvider",
    "Conflict",
    "Disposition",
    "Grant",
    "IdentityContext",
    "IdentityError",
    "IdentityKind",
    "IntegrityMismatch",
    "Misconfigured",
    "NotFound",
    "NumberRefused",
    "OAuthProfile",
    "OpenIdProfile",
    "ProviderDown",
    "ProviderMisconfigured",
    "PutSession",
    "Quota",
    "QuotaExceeded",
    "RateLimited",
    "ResumablePuts",
    "SessionLost",
    "Span",
    "ThreadLane",
    "TokenRequest",
    "TokenSource",
    "TooManyCodes",
    "Traits",
    "Transient",
    "Unsupported",
    "as_blob_key",
    "drop_put",
    "hookimpl",
    "new_blob_key",
    "no_pieces",
    "parts_of",
    "settled",
    "translated",
]
