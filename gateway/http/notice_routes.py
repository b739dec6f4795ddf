"""
What is offered about notices, mail and the policy.
"""

from functools import partial
from typing import Final

from gateway.http import notice_shapes as shapes
from gateway.http import notices
from gateway.http.operations import COUNT, JSON, Answer, Body, Operation, Parameter

TAG: Final = "Notices"
_VERSION: Final = {"type": "integer", "minimum": 1, "maximum": 999_999_999}


def notice_operations() -> list[Operation]:
    """
    Return the operations on what users are told, and on the policy.
    """
    mine = partial(Operation, tag=TAG)
    public = partial(Operation, tag=TAG, needs_token=False)
    return [
        mine(
            method="GET",
            path="/v1/me/notices",
            handler=notices.list_notices,
            name="listNotices",
            summary="List what you were told",
            details="Newest first; by e-mail as well where there is an address.",
            query=(
                Parameter("limit", "At most so many, up to 100.", {**COUNT, "minimum": 1, "maximum": 100}),
                Parameter("cursor", "What the page before gave as `next`."),
            ),
            answers={200: Answer("A page of them.", shapes.NoticeList)},
            refusals=(400,),
        ),
        mine(
            method="POST",
            path="/v1/me/notices/{id}/read",
            handler=notices.read_notice,
            name="readNotice",
            summary="Say that you have read a notice",
            id_of="a notice",
            answers={204: Answer("It is noted.")},
            refusals=(404,),
        ),
        mine(
            method="GET",
            path="/v1/me/mail",
            handler=notices.get_mail,
            name="getMailPreferences",
            summary="See what mail you asked for",
            answers={200: Answer("What you asked for.", shapes.MailPreferencesDocument)},
        ),
        mine(
            method="PUT",
            path="/v1/me/mail",
            handler=notices.put_mail,
            name="putMailPreferences",
            summary="Ask for promotional mail, or end it",
            details="What is about your account always comes.",
            body=Body(media_types=JSON, schema=shapes.MailPreferencesDocument, meaning="What you want."),
            answers={200: Answer("It holds from now on.", shapes.MailPreferencesDocument)},
            refusals=(400, 404, 413),
        ),
        public(
            method="GET",
            path="/v1/policies",
            handler=notices.list_policies,
            name="listPolicies",
            summary="List the versions of the policy",
            answers={200: Answer("All of them.", shapes.PolicyList)},
            refusals=(500, 503),
        ),
        public(
            method="GET",
            path="/v1/policies/{id}",
            handler=notices.get_policy,
            name="getPolicy",
            summary="Read a version of the policy",
            id_of="a version: its number",
            id_schema=_VERSION,
            answers={200: Answer("The version.", shapes.PolicyDocument)},
            refusals=(404, 500, 503),
        ),
        mine(
            method="GET",
            path="/v1/me/policy",
            handler=notices.list_acceptances,
            name="listAcceptances",
            summary="List which versions of the policy you accepted",
            answers={200: Answer("All of them.", shapes.AcceptanceList)},
        ),
        mine(
            method="POST",
            path="/v1/me/policy",
            handler=notices.accept_policy,
            name="acceptPolicy",
            summary="Accept a version of the policy",
            details="Accepted before, the first time stays.",
            body=Body(media_types=JSON, schema=shapes.AcceptanceRequest, meaning="Which."),
            answers={201: Answer("It is noted, with when.", shapes.AcceptanceDocument)},
            refusals=(400, 404, 413),
        ),
    ]
