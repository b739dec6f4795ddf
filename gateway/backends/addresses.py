"""
Which addresses may be spoken to where a user named the server.

A user who links a bucket of his own says where it is; without a rule he could have the gateway speak to whatever stands
beside it. So names are resolved here, each time anew, every address that comes out is judged, and what was judged is
what is connected to.
"""

import ipaddress
import re
import socket
from typing import Final

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.api import AddressRule, Misconfigured

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER: Final = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",  # link-local, and where clouds keep their metadata
    "168.63.129.16/32",  # Azure's host, at an address that looks like any other
    "192.0.0.0/24",  # protocol assignments; Oracle's metadata among them
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "fe80::/10",
    "fec0::/10",
    "fd00:ec2::/32",  # Amazon's metadata
    "ff00::/8",
    "100.100.100.200/32",  # Alibaba's metadata
)
"""Forbidden whatever the operator allows."""

_PRIVATE: Final = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)
"""The operator's own network and machine."""

_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_GLOBAL_V6: Final = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
"""Teredo and other assignments, documentation, 6to4."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""How a network that has IPv6 alone reaches IPv4; the last four bytes are the address that is meant."""

_HOST_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII | re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)


def is_forbidden(address: Address, *, allow_private: bool) -> bool:
    """
    Whether *address* may not be connected to.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            meant = ipaddress.IPv4Address(address.packed[-4:])
            return is_forbidden(meant, allow_private=allow_private)
        if address.scope_id is not None:
            return True
    if _is_in(address, _NEVER):
        return True
    if _is_in(address, _PRIVATE):
        return not allow_private
    if isinstance(address, ipaddress.IPv6Address):
        # Whatever else embeds an IPv4 address, or is not given out to anybody, lies outside.
        return address not in _GLOBAL_V6 or _is_in(address, _NOT_GLOBAL_V6)
    return False


class PublicAddresses:
    """
    Keeps connections on the public network, or off the most dangerous of the private one.

    Metadata services, multicast and addresses that nobody has stay forbidden even with *allow_private*.
    """

    def __init__(
        self, *, allow_private: bool, allow_http: bool, names: AbstractResolver | None = None
    ) -> None:
        self._allow_private = allow_private
        self._allow_http = allow_http
        self._names = names

    @property
    def resolver(self) -> AbstractResolver:
        return _JudgedNames(self._names or ThreadedResolver(), allow_private=self._allow_private)

    def check_url(self, url: str) -> None:
        """
        Check a URL before it is spoken to, for its scheme and for an address in place of a name.

        Raises:
            Misconfigured: it may not be spoken to; the message says why.
        """
        host = self._host_of(url)
        address = _literal(host)
        if address is not None:
            if is_forbidden(address, allow_private=self._allow_private):
                raise Misconfigured(f"{host} is no address on the public network.")
            return
        _check_name(host)

    def _host_of(self, url: str) -> str:
        if not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
            raise Misconfigured("The server's URL holds a character that it must not.")
        try:
            parsed = URL(url)
            host, user, password = parsed.raw_host, parsed.raw_user, parsed.raw_password
        except ValueError:
            raise Misconfigured("The server's address is no URL.") from None
        if parsed.scheme not in (("https", "http") if self._allow_http else ("https",)):
            raise Misconfigured("The server's URL has to begin with https://.")
        if not host:
            raise Misconfigured("The server's URL names no host.")
        if user is not None or password is not None:
            raise Misconfigured("The server's URL must not hold a user's name.")
        return host


class _JudgedNames(AbstractResolver):
    """
    Resolves a name, and refuses it if any of its addresses is forbidden.
    """

    def __init__(self, names: AbstractResolver, *, allow_private: bool) -> None:
        self._names = names
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if _literal(host) is None:
            _check_name(host)
        found = await self._names.resolve(host, port, family)
        for entry in found:
            address = _literal(entry["host"])
            if address is None or is_forbidden(address, allow_private=self._allow_private):
                raise Misconfigured(f"{host} does not lead to an address on the public network.")
        return found

    async def close(self) -> None:
        await self._names.close()


def _check_name(host: str) -> None:
    """
    Refuse what is no name, above all an address in a spelling that only the operating system would understand.
    """
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]) or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise Misconfigured(f"{host[:100]!r} is neither the name of a host nor an address in its usual form.")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _checked_by_mypy(rule: PublicAddresses) -> AddressRule:
    return rule
