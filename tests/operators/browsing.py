"""
People who run a service, their organisation's provider, and a browser of theirs.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from yarl import URL

from tests.emulators.cloud import Account
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.oidc import GoogleSignIn
from tests.http.browser import Browser, Page
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

ROLES: Final = ("support", "privacy", "operator")
SESSION: Final = "__Secure-operator"
BINDING: Final = "__Secure-operator-signing-in"


def operators_section(provider: GoogleSignIn, **changes: Any) -> dict[str, Any]:
    """
    Return the section [operators] by which the groups ``support-people`` and so on have the roles.
    """
    return {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        **{role: {"claims": [f"{role}-people"]} for role in ROLES},
        **changes,
    }


@asynccontextmanager
async def operated(
    data_dir: Path,
    provider: GoogleSignIn,
    clock: FakeClock,
    *,
    operators: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Served]:
    """
    Serve with pages for operators, who sign in at *provider*.
    """
    section = operators_section(provider) if operators is None else operators
    async with serving(data_dir, clock=clock, with_workers=False, operators=section, **options) as served:
        public_url = served.gateway.context.settings.server.public_url or served.url
        provider.register(f"{public_url}/operator/callback")
        yield served


class OperatorsBrowser(Browser):
    """
    A browser in which somebody signs in as an operator.
    """

    def __init__(self, served: Served, provider: GoogleSignIn) -> None:
        super().__init__(served)
        self.provider = provider

    async def __aenter__(self) -> Self:
        return self

    async def consent(self, account: Account | None = None, groups: Iterable[str] = ()) -> str:
        """
        Begin, allow it at the provider, and return where that leads back to.
        """
        await self.go("/operator/sign-in")
        page = await self.send("/operator/sign-in")
        assert 200 == page.status, page.text
        if groups:
            self.provider.oauth.change_claims(groups=list(groups))
        back = self.provider.approve(provider_link(page), account or self.provider.new_account())
        # Whatever the gateway's public address is, what answers here is this one.
        return str(URL(back).relative())

    async def sign_in_as(self, *roles: str, account: Account | None = None) -> Page:
        """
        Sign in as somebody whose groups give him *roles*, and go to the first page.
        """
        page = await self.go(await self.consent(account, [f"{role}-people" for role in roles]))
        return await self.go("/operator") if page.status == 200 else page


def provider_link(page: Page) -> str:
    """
    Return where a page leads that sends a browser on to a provider.
    """
    return next(link for link in page.links if link.startswith("http"))


async def own_token(browser: Browser) -> tuple[str, str]:
    """
    Return the field that every form of this session carries.
    """
    await browser.go("/operator")
    return browser.page.form("/operator/sign-out").fields[0]


@asynccontextmanager
async def in_role(served: Served, provider: GoogleSignIn, role: str) -> AsyncIterator[OperatorsBrowser]:
    """
    Give a browser in which somebody is signed in who has that role.
    """
    async with OperatorsBrowser(served, provider) as browser:
        await browser.sign_in_as(role)
        yield browser
