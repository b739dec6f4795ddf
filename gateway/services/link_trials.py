"""
Trying an account before it is linked: whose it is, and whether blobs can be kept there.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog

from gateway.api import (
    AccountIdentity,
    AuthRevoked,
    Backend,
    BackendError,
    Disposition,
    Misconfigured,
    OAuthProfile,
    QuotaExceeded,
    TokenRequest,
    TokenSource,
    as_blob_key,
)
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.database import Database
from gateway.services.errors import ConsentDenied, OtherAccount, PlaceRefused, ProviderUnavailable
from gateway.services.link_connections import Connector
from gateway.services.link_kinds import LinkKind
from gateway.services.link_notes import state_after
from gateway.services.link_secrets import AttemptSecrets
from gateway.services.oauth import TokenAnswer, TokenEndpoint

log = structlog.get_logger()

_PROBE_S: Final = 60
_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What trying an account showed.
    """

    state: str
    reason: str | None


class LinkTrials:
    """
    Tries accounts.
    """

    def __init__(self, catalog_db: Database, connector: Connector, endpoint: TokenEndpoint) -> None:
        self._catalog = catalog_db
        self._connector = connector
        self._endpoint = endpoint

    @property
    def http(self) -> aiohttp.ClientSession:
        """
        The session in which providers are spoken to.
        """
        return self._connector.http

    async def exchanged(
        self, kind: LinkKind, profile: OAuthProfile, asked: AttemptSecrets, code: str
    ) -> TokenAnswer:
        """
        Exchange a code for a grant that lasts.
        """
        request = TokenRequest(
            scopes=asked.scopes, redirect_uri=asked.redirect_uri, code=code, code_verifier=asked.verifier
        )
        try:
            answer = await self._endpoint.ask(profile, request)
        except AuthRevoked:
            raise PlaceRefused(f"{kind.title} does not accept its own answer any more; begin again") from None
        except BackendError as exc:
            raise refusal(kind, exc) from None
        if answer.grant.refresh_token is None and answer.grant.expires_in_s is not None:
            raise PlaceRefused(f"{kind.title} gave a permission that does not last; begin again")
        return answer

    async def identity(self, kind: LinkKind, profile: OAuthProfile, access_token: str) -> AccountIdentity:
        """
        Ask whose account it is.
        """
        try:
            async with asyncio.timeout(_PROBE_S):
                return await profile.identify(self.http, access_token)
        except BackendError as exc:
            raise refusal(kind, exc) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise ProviderUnavailable(f"{kind.title} does not answer ({type(exc).__name__})") from None

    async def probed(
        self,
        kind: LinkKind,
        settings: Mapping[str, Any],
        tokens: TokenSource | None,
        *,
        keeps_faulty: bool = False,
        holds: LinkRow | None = None,
    ) -> Finding:
        """
        Connect to the account and probe it.

        What is full is linked all the same; with *keeps_faulty* so is what its owner can mend afterwards.
        *holds* is the link whose blobs have to be there.
        """
        try:
            async with asyncio.timeout(_PROBE_S):
                async with self._connector.connected(
                    kind, account=f"{kind.name}:new", settings=settings, tokens=tokens
                ) as backend:
                    if holds is not None and not await self._is_same_place(holds, backend):
                        raise OtherAccount(
                            "this is another place: what is stored there is not to be found in it"
                        )
                    await backend.probe()
        except TimeoutError:
            raise ProviderUnavailable(f"{kind.title} takes too long to answer") from None
        except BackendError as exc:
            state = state_after(exc)
            is_kept = isinstance(exc, QuotaExceeded) or (
                keeps_faulty and state in (catalog.SCOPE_MISSING, catalog.MISCONFIGURED)
            )
            if state is None or not is_kept:
                raise refusal(kind, exc) from None
            return Finding(state, exc.code)
        return Finding(catalog.OK, None)

    async def _is_same_place(self, link: LinkRow, backend: Backend) -> bool:
        async with self._catalog.read() as connection:
            stored = await catalog.a_blob_at(connection, link.id)
        if stored is None:
            return True
        return await backend.find(as_blob_key(stored)) is not None


def denial(kind: LinkKind, error: str) -> Exception:
    """
    Say what a provider's error means that came in place of a code.
    """
    if error == "access_denied":
        return ConsentDenied(f"{kind.title} was not allowed to be linked")
    told = error if _ERROR_CODE.fullmatch(error) else "an error"
    return PlaceRefused(f"{kind.title} answered {told}")


def refusal(kind: LinkKind, error: BackendError) -> Exception:
    """
    Say in what way an account cannot be linked.
    """
    if error.disposition is Disposition.RETRY:
        return ProviderUnavailable(f"{kind.title} does not answer now")
    if isinstance(error, Misconfigured) and kind.profile is not None:
        # The operator's matter; its owner can do nothing about it.
        log.error("link.misconfigured", kind=kind.name, error=str(error))
    return PlaceRefused(f"{kind.title} cannot be linked: {error}")
