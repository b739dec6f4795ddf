"""
What a request can be refused for.

    GatewayError
    └─ Refused
       ├─ NotFound              no such thing, or not this user's: the two look the same
       ├─ Gone                  it expired
       ├─ Unauthenticated       no token, or one that counts no more
       │  └─ SignedOut          a refresh token that counts no more
       ├─ SignInGone            nobody waits for this proof: used, expired, or never asked for
       ├─ WrongCode             not the code that was sent; .tries_left
       ├─ CannotBeReached       no code can be sent to that number
       ├─ TooManyTries          not now; .retry_after_s
       ├─ IdentityRefused       the provider's proof is none, or its owner did not allow it
       ├─ IdentityTaken         it is another account's
       ├─ LastIdentity          without it nobody could sign in any more
       ├─ NotInvited            there is no account, and none is made
       ├─ NotFresh              it is done only just after signing in
       ├─ Leaving               the user is about to be erased: nothing is added any more
       ├─ NoRole                somebody who may not do this here
       ├─ ForeignForm           a form that is not from a page of this browser's
       ├─ InvalidField          a value is malformed; .field names it
       ├─ OffsetMismatch        the append starts elsewhere than the upload ends; .offset is where it ends
       ├─ ChecksumMismatch      the body is not what its checksum says; nothing of it was kept
       ├─ TooLong               more bytes than declared or allowed
       ├─ TooManyUploads        the user has too many unfinished ones
       ├─ LengthConflict        the upload's length was declared before, and differently
       ├─ OutOfRoom             the spool is full; the upload can go on later
       ├─ Superseded            another request took this upload over
       ├─ LinkAttemptGone       nobody knows this answer of a provider: used, expired, or never asked for
       ├─ ConsentDenied         the user did not allow it
       ├─ ScopesMissing         he did not allow all that is needed; .scopes names it
       ├─ OtherAccount          what is linked anew must be the same account
       ├─ PlaceRefused          the account cannot be used as it is; the message says why
       ├─ TooManyLinks          the user has as many as he may have
       ├─ ProviderUnavailable   the provider does not answer now
       ├─ EditConflict          the details changed meanwhile
       ├─ OnlyCopies            recordings lie only there, and would be lost
       ├─ Held                  an operator said that it must stay; .reason, where the user is told
       ├─ ExportExists          the user has as many exports as he may have; end one first
       ├─ ExportTooLarge        more sound than an export may be of
       ├─ ExportNotReady        it is being prepared; .retry_after_s
       ├─ ExportChanged         the archive's bytes are others by now
       ├─ TooManyExports        not now; .retry_after_s
       ├─ MoveUnderWay          recordings are being moved from or to there already
       └─ Unreadable            the bytes at rest are damaged or missing
"""

from collections.abc import Collection
from typing import ClassVar

from gateway.base.errors import GatewayError


class Refused(GatewayError):
    """
    A request that is not carried out; the message is meant for whoever sent it.
    """

    code: ClassVar[str] = "refused"


class NotFound(Refused):
    code = "not-found"


class Gone(Refused):
    code = "gone"


class Unauthenticated(Refused):
    code = "unauthenticated"


class InvalidField(Refused):
    """
    A value that cannot be taken; *field* is the name its sender knows it by.
    """

    code = "invalid-field"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class OffsetMismatch(Refused):
    code = "offset-mismatch"

    def __init__(self, *, offset: int, claimed: int) -> None:
        super().__init__(f"the upload ends at byte {offset}, this request starts at byte {claimed}")
        self.offset = offset


class ChecksumMismatch(Refused):
    code = "checksum-mismatch"


class TooLong(Refused):
    """
    More bytes than the upload's declared length or the operator's limit; *limit* is the one that was passed.
    """

    code = "too-long"

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class TooManyUploads(Refused):
    code = "too-many-uploads"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} uploads are unfinished; finish or terminate one first")


class LengthConflict(Refused):
    code = "length-conflict"


class OutOfRoom(Refused):
    code = "out-of-room"


class Superseded(Refused):
    code = "superseded"


class LinkAttemptGone(Refused):
    code = "link-attempt-gone"


class ConsentDenied(Refused):
    code = "consent-denied"


class ScopesMissing(Refused):
    """
    The account's owner did not allow all that is needed; *scopes* are those that are missing.
    """

    code = "scopes-missing"

    def __init__(self, scopes: Collection[str]) -> None:
        self.scopes = tuple(sorted(scopes))
        super().__init__(f"not everything that is needed was allowed; missing: {', '.join(self.scopes)}")


class OtherAccount(Refused):
    code = "other-account"


class PlaceRefused(Refused):
    code = "place-refused"


class TooManyLinks(Refused):
    code = "too-many-links"


class ProviderUnavailable(Refused):
    code = "provider-unavailable"


class EditConflict(Refused):
    code = "edit-conflict"


class OnlyCopies(Refused):
    code = "only-copies"


class Held(Refused):
    """
    A legal hold keeps it from being erased; *reason* is None where the user is not told.
    """

    code = "held"

    def __init__(self, reason: str | None = None) -> None:
        super().__init__("a legal hold keeps this from being erased" + (f": {reason}" if reason else ""))
        self.reason = reason


class MoveUnderWay(Refused):
    code = "move-under-way"


class Unreadable(Refused):
    code = "unreadable"


class SignedOut(Unauthenticated):
    code = "signed-out"


class SignInGone(Refused):
    code = "sign-in-gone"


class WrongCode(Refused):
    """
    Not the code that was sent; *tries_left* is how many more may be named.
    """

    code = "wrong-code"

    def __init__(self, *, tries_left: int) -> None:
        super().__init__(f"this is not the code that was sent; {tries_left} more may be tried")
        self.tries_left = tries_left


class CannotBeReached(Refused):
    code = "cannot-be-reached"


class TooManyTries(Refused):
    """
    Not now, but again in *retry_after_s* seconds.
    """

    code = "too-many-tries"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = max(1, retry_after_s)


class IdentityRefused(Refused):
    code = "identity-refused"


class IdentityTaken(Refused):
    code = "identity-taken"


class LastIdentity(Refused):
    code = "last-identity"


class NotInvited(Refused):
    code = "not-invited"


class NotFresh(Refused):
    code = "not-fresh"


class Leaving(Refused):
    code = "leaving"

    def __init__(self) -> None:
        super().__init__(
            "this account is about to be erased, so nothing is added to it; take that back to go on"
        )


class NoRole(Refused):
    code = "no-role"


class ForeignForm(Refused):
    """
    A form that is not from a page of ours in this browser, or from one that was left open for too long.
    """

    code = "foreign-form"

    def __init__(self) -> None:
        super().__init__(
            "this form came from elsewhere, or from a page that was left open for too long; load it anew"
        )


class ExportExists(Refused):
    code = "export-exists"


class ExportTooLarge(Refused):
    code = "export-too-large"


class ExportNotReady(Refused):
    """
    An archive that is being prepared; *retry_after_s* is when to look again.
    """

    code = "export-not-ready"
    retry_after_s = 2

    def __init__(self) -> None:
        super().__init__("this export is being prepared")


class ExportChanged(Refused):
    code = "export-changed"

    def __init__(self) -> None:
        super().__init__(
            "a recording in this archive was erased or lost since, so its bytes are others now; "
            "a download that began before has to begin anew"
        )


class TooManyExports(Refused):
    """
    The user has as many exports or downloads as he may have at once or in a day; *retry_after_s* is when he may ask again.
    """

    code = "too-many-exports"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
