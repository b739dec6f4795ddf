"""
The rule for servers that users name: what it refuses, however it is spelt, and that nothing is connected to unjudged.
"""

import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.api import Misconfigured
from gateway.backends.addresses import PublicAddresses, is_forbidden

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "11.0.0.1"]
PUBLIC_V6 = ["2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "2002:7f00:1::",
    "2002:808:808::",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "4000::1",
]


@pytest.mark.parametrize("text", [*PUBLIC, *PUBLIC_V6])
def test_public_addresses_are_allowed(text: str) -> None:
    assert not is_forbidden(ip_address(text), allow_private=False)


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_are_allowed_only_by_the_operator(text: str) -> None:
    assert is_forbidden(ip_address(text), allow_private=False)
    assert not is_forbidden(ip_address(text), allow_private=True)


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_allowed(text: str) -> None:
    assert is_forbidden(ip_address(text), allow_private=False)
    assert is_forbidden(ip_address(text), allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://s3.example.org",
        "ftp://s3.example.org",
        "s3.example.org",
        "https:",
        "https://",
        "https://user@s3.example.org",
        "https://user:word@s3.example.org",
        "https://127.0.0.1",
        "https://127.0.0.1:9000/bucket",
        "https://127.0.0.1.",
        "https://127.1",
        "https://127.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0x7f.0.0.1",
        "https://0x7f.1",
        "https://0177.0.0.1",
        "https://017700000001",
        "https://1.2.3.4.5",
        "https://s3.example.0x1",
        "https://[::1]",
        "https://[::]",
        "https://[::ffff:127.0.0.1]",
        "https://[::ffff:7f00:1]",
        "https://[fe80::1%25eth0]",
        "https://[64:ff9b::7f00:1]",
        "https://169.254.169.254/latest/meta-data",
        "https://%31%32%37.0.0.1",
        "https://127。0。0。1",
        "https://①②⑦.0.0.1",
        "https://s3.example.org\\@127.0.0.1",
        "https://s3.example.org\t.evil",
        "https://s3 example.org",
        "https://-s3.example.org",
        "https://s3..example.org",
        "https://s3.example.org:port",
        "",
    ],
)
def test_urls_that_lead_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        PublicAddresses(allow_private=False, allow_http=False).check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example.org",
        "https://s3.example.org.:8333/path",
        "https://S3.EU-central-1.example.org",
        "https://my_bucket.s3.example.org",
        "https://8.8.8.8",
        "https://[2606:4700:4700::1111]:443",
        "https://1password.example",
        "https://xn--bcher-kva.example",
        "https://localhost",
    ],
)
def test_other_urls_are_left_to_the_resolver(url: str) -> None:
    PublicAddresses(allow_private=False, allow_http=False).check_url(url)


def test_the_operator_may_allow_http_and_his_own_network() -> None:
    rule = PublicAddresses(allow_private=True, allow_http=True)

    rule.check_url("http://127.0.0.1:8333")
    rule.check_url("http://s3.internal")
    with pytest.raises(Misconfigured):
        rule.check_url("http://169.254.169.254")


class Names(AbstractResolver):
    """
    A name server whose answers change with each question.
    """

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["not an address"]])
async def test_a_name_counts_by_every_address_that_it_has(answer: list[str]) -> None:
    rule = PublicAddresses(allow_private=False, allow_http=False, names=Names(answer))

    with pytest.raises(Misconfigured, match=r"s3\.example\.org"):
        await rule.resolver.resolve("s3.example.org", 443)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "bucket.127.1"])
async def test_numbers_are_no_names(host: str) -> None:
    names = Names(["8.8.8.8"])

    with pytest.raises(Misconfigured):
        await PublicAddresses(allow_private=False, allow_http=False, names=names).resolver.resolve(host, 443)

    assert 0 == names.asked


async def test_localhost_is_where_it_leads() -> None:
    rule = PublicAddresses(allow_private=False, allow_http=False)

    with pytest.raises(Misconfigured):
        await rule.resolver.resolve("localhost", 443)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="inside")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_name_that_is_bound_anew_is_judged_anew(port: int) -> None:
    """
    The first answer is harmless and the second is not: what is judged is what is connected to, each time.
    """
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    rule = PublicAddresses(allow_private=True, allow_http=True, names=names)
    connector = aiohttp.TCPConnector(resolver=rule.resolver, use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(f"http://s3.example.org:{port}/") as response:
            assert "inside" == await response.text()
        with pytest.raises(Misconfigured):
            await session.get(f"http://s3.example.org:{port}/")

    assert 2 == names.asked
