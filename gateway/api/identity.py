"""
How people prove who they are: a code sent to a number, or an account at an OpenID provider.

A plugin registers `IdentityKind`s. It states facts and speaks to its provider; the host keeps the attempts, the limits and
the sessions, and decides who is whom. What a plugin learns about a person it forgets when a call ends.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

import aiohttp

SettingsT = TypeVar("SettingsT")

Channel = Literal["sms", "call"]
"""How a code travels to a phone."""


class IdentityError(Exception):
    """
    A provider did not do what it was asked for; the message holds no number, code or token.
    """


class NumberRefused(IdentityError):
    """
    No code can be sent to this number, by this channel: it is no number, a landline, or in a country that is not served.
    """


class TooManyCodes(IdentityError):
    """
    The provider sends or checks no more codes for this number for a while.
    """

    def __init__(self, message: str, *, retry_after_s: int = 600) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CodeGone(IdentityError):
    """
    No code is waited for any more: it was used, it expired, or was guessed at too often.
    """


class ProviderDown(IdentityError):
    """
    There was no answer, or one that says to try again; whether a code was sent is not known.
    """


class ProviderMisconfigured(IdentityError):
    """
    The provider does not accept the operator's account or settings.
    """


class CodeProvider(Protocol):
    """
    Sends codes to numbers, and tells whether a code is the one that was sent.
    """

    async def send(self, number: str, *, channel: Channel, locale: str | None) -> str:
        """
        Send a code to *number* (E.164); return what `check` knows it by.

        *locale* is the language of the message, as a BCP 47 tag, if it is known.

        Raises:
            NumberRefused: it cannot be reached.
            TooManyCodes: not now.
            ProviderDown, ProviderMisconfigured: as they say.
        """
        ...

    async def check(self, handle: str, code: str) -> bool:
        """
        Tell whether *code* is the one that was sent; true once, for a code that was right is used up.

        Raises:
            CodeGone: none is waited for.
            TooManyCodes: it was tried too often.
            ProviderDown, ProviderMisconfigured: as they say.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdProfile:
    """
    The facts about an OpenID provider that the host needs (OpenID Connect Core 1.0; code flow with PKCE).
    """

    client_id: str
    client_secret: str | None = field(repr=False)
    authorize_url: str
    token_url: str
    keys_url: str
    """The provider's JSON Web Key Set, which holds what its tokens are signed with."""

    issuers: tuple[str, ...]
    """
    What the claim ``iss`` may be. ``{tid}`` in one stands for the token's own claim ``tid``, for a provider with tenants.
    """

    tenants: frozenset[str] | None = None
    """Which ``tid`` are let in, where *issuers* has ``{tid}``; None: any."""

    algorithms: tuple[str, ...] = ("RS256",)
    scopes: tuple[str, ...] = ("openid", "email")
    subject_claims: tuple[str, ...] = ("sub",)
    """The claims that name a person for good, together. Never an e-mail address: those pass from one to another."""

    label_claims: tuple[str, ...] = ("email",)
    """The claims that a person recognises his account by; the first that there is counts."""

    authorize_parameters: Mapping[str, str] = field(default_factory=dict)
    names_issuer: bool = False
    """Whether its answers to the browser carry ``iss`` (RFC 9207); one without is refused then."""

    repeats_nonce: bool = True
    """
    Whether its ID tokens repeat the ``nonce``, as OpenID Connect has it; one without is refused then.

    Where it is not known to, ``state`` and PKCE alone bind an answer to its attempt. A nonce that is there must always fit.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityContext:
    """
    What a plugin gets from the host for its connections.
    """

    http: aiohttp.ClientSession
    is_production: bool
    """Whether real people sign in here: a provider that is for trying out only refuses then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityKind(Generic[SettingsT]):
    """
    One way of proving who one is.

    Exactly one of *connect* (codes) and *profile* (OpenID) is given.
    """

    name: str
    """What the operator's settings know it by, such as ``twilio``."""

    space: str
    """
    Whose people it knows, such as ``phone``: what addresses know it by.

    Kinds of one space prove the same identities; of each space one is in use.
    """

    title: str
    """What people call it."""

    api_version: int
    settings_type: type[SettingsT]
    """A frozen dataclass or msgspec Struct; the host checks the operator's settings by it."""

    connect: Callable[[IdentityContext, SettingsT], AbstractAsyncContextManager[CodeProvider]] | None = None
    profile: Callable[[SettingsT], OpenIdProfile] | None = None
    secret_settings: frozenset[str] = frozenset()
    recipient: str | None = None
    """
    Whom a person's number or sign-in is given to, such as a company's name: users are told. None: nobody outside, for codes;
    for an OpenID provider, what *title* says.
    """

    def __post_init__(self) -> None:
        if (self.connect is None) == (self.profile is None):
            raise ValueError(f"the identity kind {self.name!r} has to have either connect or profile")
