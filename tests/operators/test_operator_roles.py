"""
Every page of the operators and every role: who may do what, and that whoever may not does nothing.

A page that is not in the table here makes a test fail: whoever adds one says whose it is.
"""

from typing import Final

import pytest

from gateway.base.clock import SystemClock
from gateway.services.roles import MAY
from tests.operators.browsing import ROLES, OperatorsBrowser, own_token
from tests.operators.scene import Scene
from tests.support.gateway import Served

ALL: Final = frozenset(ROLES)
NOBODY: Final = frozenset[str]()

MAY_OPEN: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("GET", "/operator"): ALL,
    ("POST", "/operator/sign-out"): ALL,
    ("GET", "/operator/jobs"): frozenset({"support", "operator"}),
    ("POST", "/operator/jobs/retry"): frozenset({"operator"}),
    ("GET", "/operator/retention"): frozenset({"privacy", "operator"}),
    ("POST", "/operator/retention/approve"): frozenset({"operator"}),
    ("POST", "/operator/retention/approve-accounts"): frozenset({"operator"}),
    ("GET", "/operator/users"): frozenset({"support", "privacy"}),
    ("GET", "/operator/users/{id}"): frozenset({"support", "privacy"}),
    ("POST", "/operator/users/{id}/look"): frozenset({"privacy"}),
    ("POST", "/operator/users/{id}/erase"): frozenset({"privacy"}),
    ("POST", "/operator/users/{id}/disclosures"): frozenset({"privacy"}),
    ("GET", "/operator/holds"): frozenset({"privacy"}),
    ("POST", "/operator/holds"): frozenset({"privacy"}),
    ("POST", "/operator/holds/{id}/lift"): frozenset({"privacy"}),
    ("GET", "/operator/notices"): frozenset({"privacy", "operator"}),
    ("POST", "/operator/notices/{id}/retry"): frozenset({"operator"}),
    ("GET", "/operator/counts"): ALL,
    ("GET", "/operator/audit"): frozenset({"privacy", "operator"}),
    ("POST", "/operator/audit/verify"): frozenset({"privacy", "operator"}),
    ("POST", "/operator/audit/head"): frozenset({"privacy", "operator"}),
}
"""Which roles get further than the question who they are."""

OF_STRANGERS: Final = {
    ("GET", "/operator/sign-in"),
    ("POST", "/operator/sign-in"),
    ("GET", "/operator/callback"),
}
"""Pages for people who are not signed in yet: no personal data, no action."""

CASES = [(*route, role) for route in MAY_OPEN for role in ROLES]


def routes_of(served: Served) -> set[tuple[str, str]]:
    return {
        (route.method, route.resource.canonical)
        for route in served.gateway.web_app(SystemClock()).router.routes()
        if route.resource is not None
        and route.resource.canonical.startswith("/operator")
        and route.method != "HEAD"
    }


async def test_the_table_has_every_page(served: Served) -> None:
    assert set(MAY_OPEN) | OF_STRANGERS == routes_of(served)


@pytest.mark.parametrize(("method", "route", "role"), CASES)
async def test_each_page_is_open_to_its_roles_alone(
    served: Served, browser: OperatorsBrowser, method: str, route: str, role: str
) -> None:
    scene = await Scene.of(served)
    await browser.sign_in_as(role)
    token = await own_token(browser)
    before = await scene.state(served)

    if method == "GET":
        page = await browser.go(scene.path(route))
    else:
        page = await browser.post(scene.path(route), token, *scene.fields())

    log = [view.entry for view in await served.gateway.audit.page(before=None, limit=50)]
    if role in MAY_OPEN[method, route]:
        assert "your role does not go that far" not in page.text.lower()
        assert 403 != page.status < 500
        assert "role.refused" not in [entry.action for entry in log]
        return
    assert 403 == page.status
    assert "your role does not go that far" in page.text.lower()
    assert before == await scene.state(served)
    assert ("role.refused", role) == (log[0].action, log[0].role)
    for secret in ("Ada Lovelace", "case 12", scene.hold):
        assert secret not in page.source


@pytest.mark.parametrize(("method", "route"), MAY_OPEN)
async def test_nobody_gets_anywhere_without_signing_in(
    served: Served, browser: OperatorsBrowser, method: str, route: str
) -> None:
    scene = await Scene.of(served)
    before = await scene.state(served)
    if method == "GET":
        page = await browser.go(scene.path(route))
    else:
        page = await browser.post(scene.path(route), *scene.fields())
    assert "/operator/sign-in" == page.url.path
    assert before == await scene.state(served)


@pytest.mark.parametrize("route", [route for method, route in MAY_OPEN if method == "POST"])
async def test_no_other_page_can_have_an_operator_do_something(
    served: Served, browser: OperatorsBrowser, route: str
) -> None:
    scene = await Scene.of(served)
    await browser.sign_in_as(*ROLES)
    before = await scene.state(served)
    name, token = await own_token(browser)
    wrong = [[], [(name, "")], [(name, token[:-1] + ("0" if token[-1] != "0" else "1"))]]
    for sent in wrong:
        page = await browser.post(scene.path(route), *sent, *scene.fields())
        assert 403 == page.status
        assert "this form came from elsewhere" in page.text.lower()
    assert before == await scene.state(served)
    # And none of it was written down as done.
    done = [view.entry.action for view in await served.gateway.audit.page(before=None, limit=50)]
    assert {"sign-in", "hold.placed"} == set(done)
    assert "/operator" == (await browser.go("/operator")).url.path


def test_nobody_may_hear_a_recording() -> None:
    every = set().union(*MAY.values())
    assert not [permission for permission in every if "record" in permission or "listen" in permission]
    assert set(ROLES) == set(MAY)


async def test_a_support_persons_navigation_leads_only_where_he_may_go(browser: OperatorsBrowser) -> None:
    await browser.sign_in_as("support")
    links = [link for link in browser.page.links if link.startswith("/operator")]
    assert ["/operator", "/operator/counts", "/operator/jobs", "/operator/users"] == sorted(set(links))
    for link in links:
        assert 200 == (await browser.go(link)).status
