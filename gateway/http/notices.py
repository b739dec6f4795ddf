"""
``/v1/me/notices``, ``/v1/me/mail``, ``/v1/me/policy`` and ``/v1/policies`` on the wire.
"""

import re

from aiohttp import web

from gateway.http import notice_shapes as shapes
from gateway.http.authentication import authenticated
from gateway.http.context import context_of, path_id
from gateway.http.documents import convert, decode_json_body, json_response
from gateway.services.errors import InvalidField, NotFound


async def list_notices(request: web.Request) -> web.Response:
    """
    List what the user was told.
    """
    user = await authenticated(request)
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise InvalidField(name, "stands twice in the query")
    query = convert(dict(request.query), shapes.NoticeQuery, strict=False)
    page = await context_of(request).notices.page_of(user, limit=query.limit, cursor=query.cursor)
    return json_response(shapes.notice_list(page))


async def read_notice(request: web.Request) -> web.Response:
    """
    Note that the user has read a notice.
    """
    user = await authenticated(request)
    await context_of(request).notices.mark_read(user, str(path_id(request, "notice")))
    return web.Response(status=204)


async def get_mail(request: web.Request) -> web.Response:
    """
    Tell what mail the user wants.
    """
    user = await authenticated(request)
    wanted = await context_of(request).preferences.wants_promotional(user.id)
    return json_response(shapes.MailPreferencesDocument(promotional=wanted))


async def put_mail(request: web.Request) -> web.Response:
    """
    Change what mail the user wants.
    """
    user = await authenticated(request)
    wanted = await decode_json_body(request, shapes.MailPreferencesDocument)
    await context_of(request).preferences.set_promotional(user.id, wanted.promotional)
    return json_response(wanted)


async def list_policies(request: web.Request) -> web.Response:
    """
    List the versions of the policy.
    """
    policies = context_of(request).policies
    versions = await policies.list_all()
    in_force = policies.in_force_of(versions)
    return json_response(
        shapes.PolicyList(policies=[shapes.policy_summary(each, in_force) for each in versions])
    )


async def get_policy(request: web.Request) -> web.Response:
    """
    Give one version of the policy.
    """
    policies = context_of(request).policies
    policy = await policies.get(policy_version(request))
    return json_response(shapes.policy_document(policy, await policies.in_force()))


async def list_acceptances(request: web.Request) -> web.Response:
    """
    Tell which versions of the policy the user accepted.
    """
    user = await authenticated(request)
    policies = context_of(request).policies
    in_force = await policies.in_force()
    return json_response(
        shapes.AcceptanceList(
            accepted=[shapes.acceptance_document(each) for each in await policies.acceptances_of(user)],
            in_force=None if in_force is None else in_force.version,
        )
    )


async def accept_policy(request: web.Request) -> web.Response:
    """
    Note that the user accepts a version of the policy.
    """
    user = await authenticated(request)
    wanted = await decode_json_body(request, shapes.AcceptanceRequest)
    context = context_of(request)
    accepted = await context.policies.accept(user, wanted.version)
    await context.notices.mark_read(user, kind="policy")
    return json_response(shapes.acceptance_document(accepted), status=201)


def policy_version(request: web.Request) -> int:
    """
    Return the version of the policy in the request's path.

    Raises:
        NotFound: it is no number of one.
    """
    text = request.match_info["id"]
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise NotFound(f"there is no version {text[:20]} of the policy")
    return int(text)
