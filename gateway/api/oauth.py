"""
How a user's account at a provider is linked: OAuth 2.0 authorization code with PKCE (RFC 6749, RFC 7636).

A plugin states the facts in an `OAuthProfile`; the host drives the flow, keeps the tokens sealed, and refreshes them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """
    What a token endpoint answered.
    """

    access_token: str = field(repr=False)
    expires_in_s: int | None
    """How long the access token lasts, if it was said."""

    refresh_token: str | None = field(default=None, repr=False)
    """None where the answer held none: the one before stays in force."""

    scopes: frozenset[str] | None = None
    """What was granted, as the provider said; None where it said nothing (then it is what was asked for)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountIdentity:
    """
    Whose account was linked.
    """

    subject: str
    """The provider's own lasting id of the account; relinking compares it."""

    label: str
    """What its owner recognises it by, such as an e-mail address; shown to him alone, kept sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """
    What the host wants from a token endpoint: exactly one of *code* and *refresh_token* is set.
    """

    scopes: tuple[str, ...]
    redirect_uri: str | None = None
    code: str | None = field(default=None, repr=False)
    code_verifier: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthProfile:
    """
    The facts about a provider's OAuth that the host needs.
    """

    client_id: str
    client_secret: str | None = field(repr=False)
    """None for a public client, which PKCE alone protects."""

    authorize_url: str
    token_url: str

    scopes: tuple[str, ...]
    """What is asked for."""

    needed_scopes: frozenset[str]
    """What must be granted, or the link is refused with the names of those that are missing."""

    identify: Callable[[aiohttp.ClientSession, str], Awaitable[AccountIdentity]]
    """Ask whose account an access token is for."""

    wider_scopes: tuple[str, ...] | None = None
    """What to ask for at a second consent, where a probe with *scopes* ends with `AccessDenied`; None: there is no such."""

    authorize_parameters: Mapping[str, str] = field(default_factory=dict)
    """More parameters of the authorization request, such as ``access_type=offline``."""

    exchange: Callable[[TokenRequest], Awaitable[Grant]] | None = None
    """
    Speaks to the token endpoint in place of the host's own form post, for providers with a library of their own.

    Raises what the host's would: `AuthRevoked` for a dead grant or code, `Misconfigured` for a wrong client,
    `Transient` where trying again helps.
    """

    revoke: Callable[[aiohttp.ClientSession, str], Awaitable[None]] | None = None
    """
    End the grant at the provider, given a refresh token (or else an access token); None where that cannot or must not be.

    Succeeds for one that is dead already.
    """

    manage_url: str | None = None
    """Where the user himself can end the grant; shown where *revoke* is None."""
