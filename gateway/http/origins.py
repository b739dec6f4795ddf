"""
Where a request came from: the address that counts for limits, behind the operator's proxies too.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web

from gateway.base.errors import ConfigurationError
from gateway.http.context import context_of
from gateway.services.sign_in_limits import Origin

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def origin_of(request: web.Request) -> Origin:
    """
    Return where *request* came from.

    ``X-Forwarded-For`` is read from its end: each proxy that is ours added the address it was called from; the first that is
    not ours is the one that counts, whatever it claims.
    """
    networks = _networks(tuple(context_of(request).settings.server.proxies))
    address = request.remote or ""
    forwarded = [
        part.strip() for header in request.headers.getall("X-Forwarded-For", ()) for part in header.split(",")
    ]
    while forwarded and _is_ours(address, networks):
        address = forwarded.pop()
    device = request.headers.get("X-Device-Id")
    return Origin(address=address, device=None if not device else device[:200])


@lru_cache(maxsize=8)
def _networks(proxies: Sequence[str]) -> list[Network]:
    try:
        return [ipaddress.ip_network(proxy) for proxy in proxies]
    except ValueError as error:
        raise ConfigurationError(f"setting server.proxies: {error}") from None


def _is_ours(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
