"""
The operator's policy, and what the service itself does.
"""

from typing import Any, Final

from aiohttp import web

from gateway.catalog.policies import Policy
from gateway.http.authentication import Session, session_of
from gateway.http.context import context_of
from gateway.http.notices import policy_version
from gateway.services.policies import policy_html
from gateway.web.forms import own_form, signed_in
from gateway.web.rendering import ACTING, READING, Renderer, see_other

_POLICY: Final = "/policy"


class PolicyPages:
    """
    The policy in force, all versions of it, and the page on what the service does.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_POLICY, self.in_force)
        app.router.add_get(f"{_POLICY}/{{id}}", self.version)
        app.router.add_post(f"{_POLICY}/{{id}}/accept", signed_in(self.accept))
        app.router.add_get("/privacy", self.privacy)

    async def in_force(self, request: web.Request) -> web.StreamResponse:
        """
        Show the policy that is in force.
        """
        return await self._policy(request, await context_of(request).policies.in_force())

    async def version(self, request: web.Request) -> web.StreamResponse:
        """
        Show a version.
        """
        return await self._policy(request, await context_of(request).policies.get(policy_version(request)))

    async def accept(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Note that the person accepts a version.
        """
        await own_form(request, session)
        context = context_of(request)
        version = policy_version(request)
        await context.policies.accept(session.user, version)
        await context.notices.mark_read(session.user, kind="policy")
        return see_other(f"{_POLICY}/{version}")

    async def privacy(self, request: web.Request) -> web.StreamResponse:
        """
        Say what the service itself does with what it knows.
        """
        settings = context_of(request).settings
        return self._page(
            "privacy.html",
            await session_of(request),
            retention=settings.retention,
            sign_in=settings.sign_in,
            has_mail=bool(settings.mail.host),
        )

    async def _policy(self, request: web.Request, policy: Policy | None) -> web.Response:
        policies = context_of(request).policies
        session = await session_of(request)
        accepted = [] if session is None else await policies.acceptances_of(session.user)
        versions = await policies.list_all()
        return self._page(
            "policy.html",
            session,
            policy=policy,
            text=None if policy is None else policy_html(policy),
            versions=versions,
            in_force=policies.in_force_of(versions),
            accepted={each.version: each.accepted_at for each in accepted},
        )

    def _page(self, template: str, session: Session | None, **values: Any) -> web.Response:
        headers = READING if session is None else ACTING
        return self._renderer.page(template, session=session, headers=headers, **values)
