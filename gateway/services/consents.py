"""
Proving who one is at an OpenID provider, in a browser that comes back from there.

What comes back counts in the browser that went (bound by a cookie), or for the app that asked (bound by a code verifier, as
RFC 8252 has it): a stranger's answer that is slipped to somebody else signs nobody in.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

import structlog
from yarl import URL

from gateway.services.errors import IdentityRefused, InvalidField, ProviderUnavailable, SignInGone
from gateway.services.identities import Proven
from gateway.services.oauth import Proof
from gateway.services.openid import OpenIdClient, answered_code, authorization_url
from gateway.services.returns import check_return
from gateway.services.sign_in_attempts import Attempts, Kept
from gateway.services.ways import Ways
from gateway.settings import SignIn as Limits

log = structlog.get_logger()

_GRANT: Final = "grant"
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


class _Asked(Kept, frozen=True, kw_only=True, omit_defaults=True):
    verifier: str
    nonce: str
    redirect_uri: str
    return_to: str
    challenge: str | None = None
    browser_hash: str | None = None
    is_remembered: bool = False
    joins_to: str | None = None


class _Granted(Kept, frozen=True, kw_only=True):
    space: str
    subject: str
    label: str
    challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInConsent:
    """
    Where the browser goes, and until when its answer is waited for (Unix ms).
    """

    authorize_url: str
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CameBack:
    """
    A browser that came back: whom it is, or, for an app that fetches that itself, None; and where it goes now.

    With *joins_to* nobody is to be signed in: that user, if the browser is still his, adds it to what he signs in by.
    """

    proven: Proven | None
    return_to: str
    is_remembered: bool = False
    joins_to: str | None = None


class ConsentSignIn:
    """
    Sends browsers to providers and takes them back.
    """

    def __init__(self, ways: Ways, attempts: Attempts, openid: OpenIdClient, limits: Limits) -> None:
        self._ways = ways
        self._attempts = attempts
        self._openid = openid
        self._limits = limits

    async def begin_for_app(
        self, space: str, *, redirect_uri: str, return_to: str, challenge: str
    ) -> SignInConsent:
        """
        Begin for an app, which gets a code at *return_to* and redeems it with the verifier of *challenge* (S256).

        Raises:
            NotFound: there is no such provider here.
            InvalidField: the app cannot be returned to there, or the challenge is none.
        """
        check_return(return_to, self._limits.return_to)
        if return_to.startswith("/"):
            raise InvalidField("return_to", "is a page here; an app names an address of its own")
        if _CHALLENGE.fullmatch(challenge) is None:
            raise InvalidField("code_challenge", "is no S256 code challenge")
        return await self._begin(space, redirect_uri, return_to=return_to, challenge=challenge)

    async def begin_for_browser(
        self,
        space: str,
        *,
        redirect_uri: str,
        return_to: str,
        browser: str,
        is_remembered: bool = False,
        joins_to: str | None = None,
    ) -> SignInConsent:
        """
        Begin for the browser that has *browser* in a cookie; with *joins_to*, for the user who is signed in there.

        Raises:
            NotFound: there is no such provider here.
            InvalidField: *return_to* is no page here.
        """
        check_return(return_to, ())
        return await self._begin(
            space,
            redirect_uri,
            return_to=return_to,
            browser_hash=browser_hash(browser),
            is_remembered=is_remembered,
            joins_to=joins_to,
        )

    async def finish(
        self,
        space: str,
        *,
        state: str,
        code: str | None,
        error: str | None,
        issuer: str | None,
        browser: str | None,
    ) -> CameBack:
        """
        Take what the provider sent the browser back with.

        Raises:
            NotFound: there is no such provider here.
            SignInGone: nobody asked for this answer, in this browser; or it came too late, or twice.
            IdentityRefused, ProviderUnavailable: the browser is not signed in; an app is told at its address instead.
        """
        profile = self._ways.profile(space)
        asked = await self._attempts.take(space, state, _Asked)
        if asked.browser_hash is not None:
            check_browser(browser, asked.browser_hash)
        try:
            person = await self._openid.person(
                profile,
                code=answered_code(profile, code=code, error=error, issuer=issuer),
                verifier=asked.verifier,
                redirect_uri=asked.redirect_uri,
                nonce=asked.nonce,
            )
        except (IdentityRefused, ProviderUnavailable) as refused:
            if asked.challenge is None:
                raise
            log.info("sign_in.refused", space=space, reason=str(refused))
            return CameBack(proven=None, return_to=_with(asked.return_to, error=refused.code))
        if asked.challenge is None:
            proven = Proven(space=space, subject=person.subject, label=person.label)
            return CameBack(
                proven=proven,
                return_to=asked.return_to,
                is_remembered=asked.is_remembered,
                joins_to=asked.joins_to,
            )
        granted = _Granted(space=space, subject=person.subject, label=person.label, challenge=asked.challenge)
        grant, _ = await self._attempts.begin(_GRANT, granted)
        return CameBack(proven=None, return_to=_with(asked.return_to, code=grant))

    async def redeem(self, code: str, verifier: str) -> Proven:
        """
        Return what an app's *code* proves; it does so once, to the app that has the verifier.

        Raises:
            InvalidField: this cannot be a verifier.
            SignInGone: the code is unknown, too old or used, or the verifier is another one's.
        """
        if _VERIFIER.fullmatch(verifier) is None:
            raise InvalidField("code_verifier", "is 43 to 128 letters, digits, -, ., _ or ~")
        granted = await self._attempts.take(_GRANT, code, _Granted)
        if not hmac.compare_digest(Proof(verifier).challenge.encode(), granted.challenge.encode()):
            raise SignInGone("this code was given to another app")
        return Proven(space=granted.space, subject=granted.subject, label=granted.label)

    async def _begin(
        self,
        space: str,
        redirect_uri: str,
        *,
        return_to: str,
        challenge: str | None = None,
        browser_hash: str | None = None,
        is_remembered: bool = False,
        joins_to: str | None = None,
    ) -> SignInConsent:
        profile = self._ways.profile(space)
        proof, nonce = Proof.new(), secrets.token_urlsafe(32)
        asked = _Asked(
            verifier=proof.verifier,
            nonce=nonce,
            redirect_uri=redirect_uri,
            return_to=return_to,
            challenge=challenge,
            browser_hash=browser_hash,
            is_remembered=is_remembered,
            joins_to=joins_to,
        )
        state, expires_at = await self._attempts.begin(space, asked)
        url = authorization_url(profile, state=state, nonce=nonce, proof=proof, redirect_uri=redirect_uri)
        return SignInConsent(authorize_url=url, expires_at=expires_at)


def _with(address: str, **told: str) -> str:
    return str(URL(address).update_query(told))


def check_browser(browser: str | None, begun_in: str) -> None:
    """
    Return if *browser*, a secret that its cookie brings, is the one whose hash is *begun_in*.

    Raises:
        SignInGone: it is another one.
    """
    if browser is None or not hmac.compare_digest(browser_hash(browser), begun_in):
        raise SignInGone("this sign-in was begun in another browser; begin again in this one")


def browser_hash(browser: str) -> str:
    """
    Return what an attempt remembers of the browser that began it.
    """
    return hashlib.sha256(browser.encode("utf-8", "replace")).hexdigest()
