"""
What a request can be refused for.

    GatewayError
    └─ Refused
       ├─ NotFound              no such thing, or not this user's: the two look the same
       ├─ Gone                  it expired
       ├─ Unauthenticated       no token, or one that counts no more
       ├─ InvalidField          a value is malformed; .field names it
       ├─ OffsetMismatch        the append starts elsewhere than the upload ends; .offset is where it ends
       ├─ ChecksumMismatch      the body is not what its checksum says; nothing of it was kept
       ├─ TooLong               more bytes than declared or allowed
       ├─ TooManyUploads        the user has too many unfinished ones
       ├─ LengthConflict        the upload's length was declared before, and differently
       ├─ OutOfRoom             the spool is full; the upload can go on later
       ├─ Superseded            another request took this upload over
       ├─ EditConflict          the details changed meanwhile
       └─ Unreadable            the bytes at rest are damaged or missing
"""

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


class LengthConflict(Refused):
    code = "length-conflict"


class OutOfRoom(Refused):
    code = "out-of-room"


class Superseded(Refused):
    code = "superseded"


class EditConflict(Refused):
    code = "edit-conflict"


class Unreadable(Refused):
    code = "unreadable"
