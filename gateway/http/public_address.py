"""
Where browsers reach this gateway.
"""

from aiohttp import web

from gateway.http.context import context_of


def public_url(request: web.Request) -> str:
    """
    Return the address that the operator set, or else the one that the request came by, without a slash at its end.
    """
    configured = context_of(request).settings.server.public_url
    return configured.rstrip("/") or f"{request.scheme}://{request.host}"
