"""
What is sent and answered about signing in, as JSON.
"""

from typing import Annotated, Literal

import msgspec

from gateway.base.wording import format_time
from gateway.services.codes import CodeSent
from gateway.services.consents import SignInConsent
from gateway.services.devices import DeviceView, SignedIn
from gateway.services.identities import IdentityView
from gateway.services.ways import Way

ShortText = Annotated[str, msgspec.Meta(max_length=200)]
LongText = Annotated[str, msgspec.Meta(max_length=2000)]


class WayDocument(msgspec.Struct, kw_only=True):
    """
    One way of signing in.
    """

    way: str
    """What addresses know it by, such as `phone`."""
    title: str
    """What people call it."""
    by: Literal["code", "consent"]
    """code: a code is sent; consent: a browser goes to the provider."""


class WayList(msgspec.Struct, kw_only=True):
    """
    How people sign in here, in the order in which the operator would have it offered.
    """

    ways: list[WayDocument]


class CodeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    Where a code is to be sent.
    """

    number: ShortText
    """With + and the country's code, such as `+14155550100`."""
    channel: Literal["sms", "call"] = "sms"
    locale: (
        Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)] | None
    ) = None
    """The language of the message, as a BCP 47 tag."""


class CodeDocument(msgspec.Struct, kw_only=True):
    """
    A code is on its way, whether or not there is an account.
    """

    attempt: str
    """Names this attempt; whoever has it and the code is signed in, so it is not to be shown to anybody."""
    expires_at: str
    resend_at: str
    """From then on another one may be asked for."""


class TokenRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What an app shows for its tokens: exactly one of `attempt` with `code`, `code` with `code_verifier`, `refresh_token`.
    """

    grant_type: Literal["phone_code", "authorization_code", "refresh_token"]
    attempt: ShortText | None = None
    """phone_code: what sending the code answered."""
    code: ShortText | None = None
    """phone_code: what the person read; authorization_code: what came to `return_to`."""
    code_verifier: ShortText | None = None
    """authorization_code: what `code_challenge` was made of."""
    refresh_token: ShortText | None = None
    device_name: ShortText = ""
    """What the person knows this device by; shown to him in the list of his devices."""


class TokenDocument(msgspec.Struct, kw_only=True):
    """
    What a device is given.
    """

    access_token: str
    """For `Authorization: Bearer`."""
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    """Seconds that the access token lasts."""
    refresh_token: str
    """Brings new tokens, once; then the one that came with them counts."""
    refresh_expires_at: str
    """Without coming back before, the person has to sign in again."""
    device: str
    """The id of this device."""
    user: str
    is_new: bool = False
    """Whether the account was made just now."""
    is_leaving: bool = False
    """Whether the account is about to be erased; `POST /v1/me/stay` takes that back."""


class ConsentRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    Where an app wants its answer.
    """

    return_to: LongText
    """An address that the operator allows for apps; it gets a `code`, or an `error`."""
    code_challenge: ShortText
    """PKCE's, S256 (RFC 7636): the app keeps the verifier."""


class SignInConsentDocument(msgspec.Struct, kw_only=True):
    """
    Where to go to sign in.
    """

    authorize_url: str
    """To be opened in the system's browser, not in a view of the app's own (RFC 8252)."""
    expires_at: str


class IdentityDocument(msgspec.Struct, kw_only=True):
    """
    A number or an account by which its user signs in.
    """

    id: str
    way: str
    label: str | None
    """What he recognises it by; null if what is kept of it is damaged."""
    created_at: str


class IdentityList(msgspec.Struct, kw_only=True):
    """
    How the user signs in, oldest first.
    """

    identities: list[IdentityDocument]


class JoinRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    The proof of one more identity, as for tokens.
    """

    grant_type: Literal["phone_code", "authorization_code"]
    attempt: ShortText | None = None
    code: ShortText | None = None
    code_verifier: ShortText | None = None


class DeviceDocument(msgspec.Struct, kw_only=True):
    """
    Where the user is signed in.
    """

    id: str
    kind: Literal["app", "browser"]
    name: str | None
    created_at: str
    used_at: str
    """When it last got tokens."""
    expires_at: str
    is_this: bool
    """Whether it is the one that asks."""


class DeviceList(msgspec.Struct, kw_only=True):
    """
    Where the user is signed in, the one that was used last first.
    """

    devices: list[DeviceDocument]


def way_document(way: Way) -> WayDocument:
    """
    Shape a way of signing in.
    """
    return WayDocument(way=way.space, title=way.title, by="consent" if way.codes is None else "code")


def code_document(sent: CodeSent) -> CodeDocument:
    """
    Shape a code that was sent.
    """
    return CodeDocument(
        attempt=sent.attempt,
        expires_at=format_time(sent.expires_at),
        resend_at=format_time(sent.resend_at),
    )


def sign_in_consent_document(consent: SignInConsent) -> SignInConsentDocument:
    """
    Shape the way to a provider.
    """
    return SignInConsentDocument(
        authorize_url=consent.authorize_url, expires_at=format_time(consent.expires_at)
    )


def token_document(signed_in: SignedIn, *, now_ms: int, is_new: bool, is_leaving: bool) -> TokenDocument:
    """
    Shape what a device is given.
    """
    assert signed_in.refresh_token is not None
    return TokenDocument(
        access_token=signed_in.token.reveal().decode(),
        expires_in=(signed_in.token_expires_at - now_ms) // 1000,
        refresh_token=signed_in.refresh_token.reveal().decode(),
        refresh_expires_at=format_time(signed_in.expires_at),
        device=signed_in.device_id,
        user=signed_in.user_id,
        is_new=is_new,
        is_leaving=is_leaving,
    )


def identity_document(view: IdentityView) -> IdentityDocument:
    """
    Shape an identity.
    """
    return IdentityDocument(
        id=view.id, way=view.space, label=view.label, created_at=format_time(view.created_at)
    )


def device_document(view: DeviceView, *, this: str | None) -> DeviceDocument:
    """
    Shape a device.
    """
    return DeviceDocument(
        id=view.id,
        kind="browser" if view.kind == "browser" else "app",
        name=view.name,
        created_at=format_time(view.created_at),
        used_at=format_time(view.used_at),
        expires_at=format_time(view.expires_at),
        is_this=view.id == this,
    )
