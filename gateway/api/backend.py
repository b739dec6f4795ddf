"""
What a storage backend is: its kind, its connection, its promises.

These docstrings are the contract; the conformance suite tests each sentence of them.
Retries, limits, time-outs and measurements are the host's business.
A plugin does not retry, sleep, cache listings, log secrets or swallow errors.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import aiohttp

from gateway.api.blobs import BlobKey, BlobRef, BlobSource, BlobStat, Span
from gateway.api.lending import AddressRule, ThreadLane, TokenSource
from gateway.api.oauth import OAuthProfile
from gateway.api.puts import ResumablePuts

SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True, slots=True)
class Quota:
    """
    How full the place is.
    """

    used: int
    """Bytes that count against the limit, whoever wrote them."""

    limit: int | None
    """Bytes that may be used in all; None where there is no limit."""

    @property
    def free(self) -> int | None:
        """
        Bytes that still fit; None where there is no limit.
        """
        return None if self.limit is None else max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """
    Facts about a backend, each of which changes a decision of the host.
    """

    max_concurrency: int
    """How many calls at once do it good; the host keeps more than that waiting."""

    delete_recoverable_for: timedelta | None
    """
    How long after `Backend.delete` the provider may still bring the bytes back (trash, versions).

    Zero: not at all. None: nobody knows. It is told to the user on his receipt.
    """

    max_blob_size: int | None = None
    """Bytes of the largest blob that it takes; None where there is no limit. The host places larger ones elsewhere."""

    ranged_read: bool = True
    """Whether a span is read without reading what lies before it; otherwise the host prefers another copy."""

    listing_lag: timedelta = timedelta(0)
    """How long `Backend.scan` may go on showing what it did before a put or a delete; `find` and `stat` never lag."""

    hash_offered: str | None = None
    """
    What `BlobStat.digest` is, where the provider tells it without a download: ``sha256``, ``md5`` or a name of his own.

    None where a provider offers none; then a scrub compares sizes only.
    """


class Backend(Protocol):
    """
    A live connection to one place where blobs are kept.

    All methods may be called at once from many tasks of one event loop, and none blocks that loop.
    Each honours cancellation; a cancelled call has no effect that `find` and `delete` cannot undo.
    Each raises `BackendError` or a class below it, and nothing else but what a *body* raised.
    """

    @property
    def traits(self) -> Traits:
        """
        The facts about this backend; they do not change while it is connected.
        """
        ...

    @property
    def resumable(self) -> ResumablePuts | None:
        """
        Puts that go on after a crash where the provider has got to, or None if it has no such thing.

        A field of its own, so that no decorator can lose it by accident.
        """
        ...

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        """
        Store *body* under *key*, whole or not at all, and only if the key is free.

        On return the blob is durable, and it agrees with the provider's hash where the provider offers one.
        Nothing is visible under the key before all of it is there.
        Of several puts of one key, one wins.
        *body* may be opened as often as needed; what `put` did not open it does not close.

        Raises:
            Conflict: the key is taken; the bytes there are untouched, and as durable as if just put.
            IntegrityMismatch: *body* was shorter or longer than its size; nothing is kept.
            QuotaExceeded: there is no room.
        """
        ...

    def read(
        self, ref: BlobRef, span: Span | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """
        Give the blob's bytes, or those of *span*, in order.

        They come in non-empty pieces of about 1 MiB at most.
        Exactly as many bytes come as were asked for, or an error.
        At most a piece or two is held in memory.

        Raises:
            NotFound: on entering; there is no such blob.
            IntegrityMismatch: on entering, if *span* goes beyond the blob's end; or later, if the blob turns
                out to be shorter than it was.
        """
        ...

    async def stat(self, ref: BlobRef) -> BlobStat:
        """
        Return what is known about the blob.

        Raises:
            NotFound: there is no such blob.
        """
        ...

    async def find(self, key: BlobKey) -> BlobRef | None:
        """
        Return how to reach the blob under *key*, or None if there is none.

        This is how the host learns what became of a put or a delete that had no answer.
        So a blob that is found is complete, and as durable as one whose put returned;
        and one that is not found is as surely gone as one whose delete returned.
        """
        ...

    async def delete(self, ref: BlobRef) -> None:
        """
        Remove the blob.

        Removing what is not there succeeds: erasure repeats after a crash and cannot know how far it got.
        On return the removal is durable; the provider's trash or version history may still hold the bytes for
        ``traits.delete_recoverable_for``.
        What lingers is sealed; making it unreadable is the key's business, not this method's.
        A reader that has the blob open may finish.
        """
        ...

    def scan(self) -> AsyncIterator[BlobStat]:
        """
        Go through all blobs, in any order, each once.

        Blobs put or deleted meanwhile may or may not appear.
        What is not a finished blob under a valid key is left out.
        """
        ...

    async def quota(self) -> Quota | None:
        """
        Return how full the place is, or None if it cannot say.
        """
        ...

    async def probe(self) -> None:
        """
        Prove, as cheaply as it can be proved, that blobs can be put, read and deleted here now.

        Raises:
            BackendError: they cannot; the message tells a person what to mend.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendContext:
    """
    What the host lends to a connection; a plugin closes nothing of it.
    """

    account: str
    """A name for logs and messages; not a person's."""

    http: aiohttp.ClientSession | None = None
    """For providers that are spoken to over HTTP: time-outs, TLS and the client's name are set; follows no address rule."""

    lane: ThreadLane | None = None
    """Where calls of a blocking library run; None for kinds that do not ask for one (`BackendKind.needs_lane`)."""

    tokens: TokenSource | None = None
    """Access tokens of a linked account; None for kinds without sign-in."""

    addresses: AddressRule | None = None
    """
    Which addresses may be spoken to; None where the operator chose them himself.

    Given where a user named the server: then every connection goes through it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendKind(Generic[SettingsT]):
    """
    A sort of backend that a plugin brings.
    """

    name: str
    """What settings and placements call it: lower-case words of letters and digits, joined by hyphens."""

    api_version: int
    """The version of this contract that the plugin was written for."""

    settings_type: type[SettingsT]
    """A frozen dataclass or a frozen msgspec Struct; the host checks the operator's settings with it."""

    connect: Callable[[BackendContext, SettingsT], AbstractAsyncContextManager[Backend]]
    """
    Connect, for as long as the context is entered.

    Leaving it with calls in flight ends in bounded time.
    """

    title: str = ""
    """What people call it: "Google Drive"; empty means its name."""

    oauth: Callable[[SettingsT], OAuthProfile] | None = None
    """How a user links his account by OAuth 2, given the operator's settings; None where there is no such thing."""

    user_settings: frozenset[str] = field(default_factory=frozenset)
    """
    The settings that a user gives himself when he links a place of his own without OAuth, such as his bucket's keys.

    The others come from the operator. Empty: users cannot link such a place.
    """

    secret_settings: frozenset[str] = field(default_factory=frozenset)
    """Those settings that are never shown again, to nobody."""

    needs_lane: bool = False
    """Whether the plugin calls a blocking library."""

    open_file: Callable[[Backend, BlobRef], int] | None = None
    """
    Open the blob's file for reading and return its descriptor, given a connection of this kind; None for most kinds.

    For those whose blobs are files of this machine, each of them nothing but the blob's bytes: the host reads them itself
    then, past all that a provider across a network needs, and falls back on `Backend.read` whenever that fails.
    It blocks, is called from several threads at once, and raises `BackendError` or `OSError`; the descriptor is the caller's
    to close.
    """
