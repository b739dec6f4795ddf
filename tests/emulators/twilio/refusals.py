"""
How Twilio says no: its codes, each with the status that its page of errors tells, in its JSON.
"""

from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from tests.emulators.twilio.contract import checked

STATUSES: Final = {
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20404: (404, "The requested resource {detail} was not found"),
    20429: (429, "Too many requests"),
    20500: (500, "An internal server error has occurred"),
    60200: (400, "Invalid parameter: {detail}"),
    60202: (429, "Max check attempts reached"),
    60203: (429, "Max send attempts reached"),
    60204: (403, "Service does not support this feature"),
    60205: (403, "SMS is not supported by landline phone number"),
    60212: (429, "Too many concurrent requests for phone number"),
    60220: (403, "Messages to China require use case vetting"),
    60221: (400, "No target verification specified"),
    60223: (400, "Delivery channel disabled: {detail}"),
    60238: (403, "Verification Creation Attempt blocked by Twilio"),
    60410: (403, "Verification delivery attempt blocked"),
    60605: (403, "Verification delivery attempt blocked"),
}
"""
By code, the HTTP status and the message.

For 60220, 60238, 60410 and 20500 no page tells the status; 403 is what other blocks have.
"""


@dataclass
class Refused(Exception):
    """
    The answer is this error.
    """

    code: int
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        status, message = STATUSES[self.code]
        document = {
            "code": self.code,
            "message": message.format(detail=self.detail),
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": status,
        }
        return web.json_response(checked("error", document), status=status, headers=self.headers)
