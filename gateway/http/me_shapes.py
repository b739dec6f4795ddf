"""
What is sent and answered about oneself, as JSON.
"""

from typing import Any, Literal

import msgspec

from gateway.base.wording import format_time
from gateway.catalog.users import User
from gateway.http.shapes import erasure_document
from gateway.services.accounts import Personal
from gateway.services.leaving import Farewell, Leaving

FAREWELLS = "/v1/farewells"


class LeavingDocument(msgspec.Struct, kw_only=True):
    """
    The account is about to be erased.
    """

    since: str
    erased_after: str
    """When, if the gateway runs all the time until then; while it is down, the time to change one's mind stands still."""


class MeDocument(msgspec.Struct, kw_only=True):
    """
    What is known about the user.
    """

    id: str
    readable: bool
    """False if what is kept is damaged; then the fields below are null."""
    name: str | None
    phone: str | None
    email: str | None
    created_at: str
    leaving: LeavingDocument | None
    """Null while he stays."""


class MeEdit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What is to be corrected.
    """

    name: str | msgspec.UnsetType | None = msgspec.UNSET
    phone: str | msgspec.UnsetType | None = msgspec.UNSET
    email: str | msgspec.UnsetType | None = msgspec.UNSET

    def changes(self) -> dict[str, str | None]:
        """
        Return the named fields only.
        """
        named = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in named.items() if value is not msgspec.UNSET}


class LookUpsDocument(msgspec.Struct, kw_only=True):
    """
    The keyed hashes by which the account's numbers and accounts at providers were found.

    They are not sealed under the account's keys, so they are gone only with the key that they were made with.
    """

    state: Literal["pending", "gone"]
    """pending: whoever has the live system and an old catalog can compare numbers with it; gone: nobody can."""
    key: str
    """The newest key that they were ever made with; older ones are gone before it."""
    receipt: dict[str, Any] | None
    """The signed statement that this key is destroyed; null until then. Its salt is 32 bytes 00."""


class FarewellDocument(msgspec.Struct, kw_only=True):
    """
    How far the end of an account has come. Keep it: nobody can give the salt again.
    """

    id: str
    state: Literal["leaving", "revoked", "shredded", "purged"]
    """leaving: it can be taken back; then as the erasure of a recording."""
    leaving: LeavingDocument | None
    """Null once it cannot be taken back."""
    revoked_at: str | None
    salt: str | None
    """Hex. With it the id can be shown to be the one that the receipt is about; only the user is told, and only now."""
    receipt: dict[str, Any] | None
    """The signed statement that every key of the account is destroyed; null until then."""
    purge_receipt: dict[str, Any] | None
    """The signed statement of what became of the blobs at every place; null until then."""
    look_ups: LookUpsDocument | None
    """Null while it can be taken back."""
    farewell: str
    """Where this can be read later, without the salt and without a token."""


def me_document(user: User, personal: Personal | None, leaving: Leaving | None) -> MeDocument:
    """
    Shape what is known about a user.
    """
    return MeDocument(
        id=user.id,
        readable=personal is not None,
        name=None if personal is None else personal.name,
        phone=None if personal is None else personal.phone,
        email=None if personal is None else personal.email,
        created_at=format_time(user.created_at),
        leaving=None if leaving is None else leaving_document(leaving),
    )


def leaving_document(leaving: Leaving) -> LeavingDocument:
    """
    Shape when somebody is erased.
    """
    return LeavingDocument(since=format_time(leaving.since), erased_after=format_time(leaving.erased_after))


def asked_document(user: User, leaving: Leaving, salt: bytes) -> FarewellDocument:
    """
    Shape an erasure that can be taken back.
    """
    return FarewellDocument(
        id=user.id,
        state="leaving",
        leaving=leaving_document(leaving),
        revoked_at=None,
        salt=salt.hex(),
        receipt=None,
        purge_receipt=None,
        look_ups=None,
        farewell=f"{FAREWELLS}/{user.id}",
    )


def farewell_document(farewell: Farewell) -> FarewellDocument:
    """
    Shape what became of an account.
    """
    erasure = erasure_document(farewell.erasure)
    receipt = farewell.look_ups_receipt
    return FarewellDocument(
        id=erasure.id,
        state="purged"
        if erasure.state == "purged"
        else "shredded"
        if erasure.state == "shredded"
        else "revoked",
        leaving=None,
        revoked_at=erasure.revoked_at,
        salt=erasure.salt,
        receipt=erasure.receipt,
        purge_receipt=erasure.purge_receipt,
        look_ups=LookUpsDocument(
            state="pending" if receipt is None else "gone",
            key=farewell.look_up_key,
            receipt=None if receipt is None else receipt.document,
        ),
        farewell=f"{FAREWELLS}/{erasure.id}",
    )
