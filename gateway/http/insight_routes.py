"""
What is offered at ``/v1/me/audit`` and ``/v1/me/disclosures``.
"""

from typing import Final

from gateway.http import insight
from gateway.http.operations import Answer, Operation, Parameter

TAG: Final = "Who saw your data"


def insight_operations() -> list[Operation]:
    """
    Return the operations on what others did with a user's data.
    """
    return [
        Operation(
            method="GET",
            path="/v1/me/audit",
            handler=insight.list_audit,
            name="listAudit",
            tag=TAG,
            summary="List what people who run this service did that concerns you",
            details="Who looked at what is known about you, as what, when and why. Names of people are not told. "
            "A legal hold that must not be told of is left out.",
            query=(Parameter("before", "`next` of the page before.", {"type": "integer", "minimum": 1}),),
            answers={200: Answer("A page.", insight.AuditPage)},
            refusals=(400,),
        ),
        Operation(
            method="GET",
            path="/v1/me/disclosures",
            handler=insight.list_disclosures,
            name="listDisclosures",
            tag=TAG,
            summary="List what of yours went to others",
            details="Clouds that you linked, companies that you sign in with or that send codes to your phone, and what "
            "operators noted. What goes on is noted once in each calendar year.",
            query=(Parameter("year", "A calendar year, such as 2026.", {"type": "integer"}),),
            answers={200: Answer("All of it.", insight.DisclosureList)},
            refusals=(400,),
        ),
    ]
