"""
An app at its first start: it has no token yet.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.base.ids import UserId
from tests.http.phone import Phone
from tests.support.gateway import Served

NUMBER = "+14155550100"
OTHER_NUMBER = "+14155550177"


@dataclass(frozen=True)
class Answer:
    """
    A JSON answer.
    """

    status: int
    document: Any
    headers: dict[str, str]


@dataclass
class Newcomer:
    """
    Signs in by a number, reading codes where the console provider keeps them.
    """

    served: Served
    number: str = NUMBER
    device: str = "Ada's phone"
    headers: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)

    async def call(self, method: str, path: str, json: Any = None, *, token: str | None = None) -> Answer:
        headers = dict(self.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.served.http.request(
            method, path, json=json, headers=headers, allow_redirects=False
        ) as response:
            body = await response.json(content_type=None) if response.content_type.endswith("json") else None
            return Answer(response.status, body, dict(response.headers))

    async def mine(self, method: str, path: str, json: Any = None) -> Answer:
        return await self.call(method, path, json, token=self.tokens["access_token"])

    async def ask_code(self, **fields: Any) -> Answer:
        return await self.call("POST", "/v1/auth/phone/codes", {"number": self.number, **fields})

    def read_code(self) -> str:
        """
        Return the code that was sent last.
        """
        provider = self.served.gateway.context.people.ways.codes("phone")
        waiting: dict[str, tuple[str, int]] = provider._waiting  # type: ignore[attr-defined]
        return waiting[next(reversed(waiting))][0]

    async def name_code(self, attempt: str, code: str) -> Answer:
        return await self.call(
            "POST",
            "/v1/auth/token",
            {"grant_type": "phone_code", "attempt": attempt, "code": code, "device_name": self.device},
        )

    async def sign_in(self) -> Answer:
        sent = await self.ask_code()
        assert 202 == sent.status, sent
        answer = await self.name_code(sent.document["attempt"], self.read_code())
        if answer.status == 200:
            self.tokens = answer.document
        return answer

    async def refresh(self, token: str | None = None) -> Answer:
        answer = await self.call(
            "POST",
            "/v1/auth/token",
            {"grant_type": "refresh_token", "refresh_token": token or self.tokens["refresh_token"]},
        )
        if answer.status == 200 and token is None:
            self.tokens = answer.document
        return answer

    def as_phone(self) -> Phone:
        """
        Go on as an app that has a token.
        """
        return Phone(
            self.served,
            UserId(self.tokens["user"]),
            {"Authorization": f"Bearer {self.tokens['access_token']}"},
        )


def wrong(code: str) -> str:
    """
    Return another code of the same length.
    """
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"
