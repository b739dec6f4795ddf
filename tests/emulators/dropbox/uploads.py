"""
Upload sessions: bytes in order, in as many requests as it takes, for seven days.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from dropbox import files
from tests.emulators.cloud import Account, Cloud, Content
from tests.emulators.dropbox.folder import content_hash
from tests.emulators.dropbox.wire import BadInput, RouteError

LIFETIME_S: Final = 7 * 24 * 3600
MAX_FILE_SIZE: Final = (1 << 41) - (1 << 22)


@dataclass
class Session:
    """
    One upload that has begun.
    """

    account: Account
    content: Content
    begun_at: float
    is_closed: bool = False
    is_saved: bool = False


class Sessions:
    """
    All upload sessions of the cloud.

    A request's bytes are taken as a whole or not at all: an append has one answer.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sessions: dict[str, Session] = {}

    def start(self, account: Account, arg: Any, content: Content) -> Any:
        if arg.session_type is not None and not arg.session_type.is_sequential():
            raise BadInput("This pretend Dropbox has no concurrent sessions.")
        if _is_corrupt(arg, content):
            raise RouteError(files.UploadSessionStartError.content_hash_mismatch)
        identity = "pid_upload_session:" + secrets.token_urlsafe(32)
        self._sessions[identity] = Session(account, content, self._cloud.clock.now(), bool(arg.close))
        return files.UploadSessionStartResult(identity)

    def append(self, account: Account, arg: Any, content: Content, *, is_cut_short: bool) -> None:
        error = files.UploadSessionAppendError
        session = self._known(account, arg.cursor.session_id)
        if session is None:
            raise RouteError(error.not_found)
        if session.is_closed or session.is_saved:
            raise RouteError(error.closed)
        if arg.cursor.offset != session.content.size:
            raise RouteError(error.incorrect_offset(_correct(session)))
        if session.content.size + content.size > MAX_FILE_SIZE:
            raise RouteError(error.too_large)
        if is_cut_short:
            # Collected up to there, and told by the error that is made for it.
            self._take(session, content)
            raise RouteError(error.incorrect_offset(_correct(session)))
        if _is_corrupt(arg, content):
            raise RouteError(error.content_hash_mismatch)
        self._take(session, content)
        session.is_closed = bool(arg.close)

    def finished(self, account: Account, arg: Any, content: Content | None, *, in_batch: bool) -> Session:
        """
        Return the session that is to be saved, with the last bytes taken in.

        Raises:
            RouteError: it cannot be, with an ``UploadSessionFinishError``.
        """
        lookup = files.UploadSessionLookupError
        session = self._known(account, arg.cursor.session_id)
        if session is None or session.is_saved:
            raise self._refused(lookup.not_found)
        if in_batch and not session.is_closed:
            raise self._refused(lookup.not_closed)
        if arg.cursor.offset != session.content.size:
            raise self._refused(lookup.incorrect_offset(_correct(session)))
        if content is not None and content.size:
            if session.is_closed:
                raise self._refused(lookup.closed)
            if _is_corrupt(arg, content):
                raise RouteError(files.UploadSessionFinishError.content_hash_mismatch)
            self._take(session, content)
        return session

    def forget(self) -> None:
        """
        Lose all sessions.
        """
        self._sessions.clear()

    def _refused(self, reason: Any) -> RouteError:
        return RouteError(files.UploadSessionFinishError.lookup_failed(reason))

    def _known(self, account: Account, identity: str) -> Session | None:
        session = self._sessions.get(identity)
        if session is None or session.account is not account:
            return None
        return session if self._cloud.clock.now() - session.begun_at < LIFETIME_S else None

    def _take(self, session: Session, content: Content) -> None:
        for piece in content.pieces():
            session.content.append(piece)
        content.drop()


def _correct(session: Session) -> Any:
    return files.UploadSessionOffsetError(session.content.size)


def _is_corrupt(arg: Any, content: Content) -> bool:
    return arg.content_hash is not None and arg.content_hash != content_hash(content)
