"""
What a person sees who comes back from a provider.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self

from aiohttp import web

from gateway.http.problems import problem_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackPage:
    """
    What he is told.
    """

    status: int
    title: str
    lead: str
    advice: str

    @classmethod
    def of_failure(cls, title: str, error: Exception) -> Self:
        """
        Say why something did not come about; whoever is at fault, and nothing of ours that went wrong in particular.
        """
        status = problem_of(error).status
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE:
            lead = "Something went wrong here; it has been logged."
        else:
            lead = f"The reason: {error}."
        return cls(
            status=status,
            title=title,
            lead=lead,
            advice="Go back to where you came from and begin again.",
        )


CALLBACK_PAGE: Final[web.AppKey[Callable[[CallbackPage], web.Response]]] = web.AppKey("callback-page")
"""How an application shows such a page; the pages bring it."""
