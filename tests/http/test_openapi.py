import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from openapi_spec_validator import validate

from gateway.base.clock import SystemClock
from gateway.database import DatabaseUnavailable
from gateway.http import problems, shapes
from gateway.http.openapi import api_document
from gateway.http.operations import REFUSALS
from gateway.http.routes import TAGS, list_operations
from gateway.keyring.errors import KeyringError
from gateway.services import errors
from gateway.services.details import KNOWN_FIELDS, build_details
from gateway.services.holders import BodyIdle
from gateway.settings import Settings
from gateway.spool import SpoolFailed
from tests.support.gateway import APPEND, TUS, Served, serving

PAGES = {
    "/",
    "/docs",
    "/static/{name}",
    "/favicon.ico",
    "/sign-in",
    "/sign-in/code",
    "/sign-in/proof",
    "/sign-in/with/{way}",
    "/sign-out",
    "/recordings",
    "/recordings/delete",
    "/recordings/{id}",
    "/receipts/{id}",
    "/storage",
    "/storage/link/{kind}",
    "/storage/links/{id}/check",
    "/storage/links/{id}/unlink",
    "/storage/route",
    "/storage/moves",
    "/storage/moves/{id}/stop",
    "/account",
    "/account/personal",
    "/account/mail",
    "/notices",
    "/notices/read",
    "/notices/{id}/read",
    "/unsubscribe/{token}",
    "/policy",
    "/policy/{id}",
    "/policy/{id}/accept",
    "/privacy",
    "/account/identities/code",
    "/account/identities/proof",
    "/account/identities/with/{way}",
    "/account/identities/{id}/remove",
    "/account/devices/{id}/end",
    "/account/devices/end-others",
    "/account/delete",
    "/account/export",
    "/account/export/{id}/delete",
    "/account/stay",
    "/farewell/{id}",
    "/account/looks",
    "/account/disclosures",
    "/operator",
    "/operator/sign-in",
    "/operator/sign-out",
    "/operator/callback",
    "/operator/jobs",
    "/operator/jobs/retry",
    "/operator/retention",
    "/operator/retention/approve",
    "/operator/retention/approve-accounts",
    "/operator/users",
    "/operator/users/{id}",
    "/operator/users/{id}/look",
    "/operator/users/{id}/erase",
    "/operator/users/{id}/disclosures",
    "/operator/holds",
    "/operator/holds/{id}/lift",
    "/operator/notices",
    "/operator/notices/{id}/retry",
    "/operator/counts",
    "/operator/audit",
    "/operator/audit/verify",
    "/operator/audit/head",
}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

Json = dict[str, Any]


@pytest.fixture
def document() -> Json:
    return api_document(list_operations(Settings()), tags=TAGS)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "data", with_workers=False) as served:
        yield served


def operations_of(document: Json) -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def parameters_of(operation: Json, place: str) -> dict[str, Json]:
    return {each["name"]: each for each in operation.get("parameters", []) if each["in"] == place}


def test_document_is_valid_openapi(document: Json) -> None:
    validate(json.loads(json.dumps(document)))

    assert "3.1.0" == document["openapi"]


async def test_every_route_is_documented_and_nothing_else(gateway: Served) -> None:
    async with gateway.http.get("/v1/openapi.json") as response:
        assert (200, "application/json") == (response.status, response.content_type)
        served = await response.json()

    routes = {
        (route.method, route.resource.canonical)
        for route in gateway.gateway.web_app(SystemClock()).router.routes()
        if route.resource is not None
    }

    assert PAGES == {path for _, path in routes} - set(served["paths"])
    assert {route for route in routes if route[1] not in PAGES} == set(operations_of(served))


def test_every_operation_says_what_a_client_must_know(document: Json) -> None:
    operations = operations_of(document).values()

    assert len(operations) == len({operation["operationId"] for operation in operations})
    assert [] == [operation for operation in operations if not operation["summary"]]
    assert set(TAGS) == {tag for operation in operations for tag in operation["tags"]}
    for operation in operations:
        needs_token = operation["security"] == [{"token": []}]
        # Giving tokens needs none, and refuses what is shown for them.
        assert needs_token == ("401" in operation["responses"]) or operation["operationId"] == "giveTokens"
        if needs_token:
            assert {"401", "500", "503"} < set(operation["responses"])


@pytest.mark.parametrize(
    ("method", "path", "sent", "answered"),
    [
        (
            "POST",
            "/v1/uploads",
            {"Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Checksum"},
            {"Tus-Resumable", "Location", "Upload-Offset", "Upload-Expires"},
        ),
        (
            "PATCH",
            "/v1/uploads/{id}",
            {"Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum"},
            {"Tus-Resumable", "Upload-Offset", "Upload-Expires"},
        ),
        (
            "HEAD",
            "/v1/uploads/{id}",
            {"Tus-Resumable"},
            {"Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires"},
        ),
        (
            "OPTIONS",
            "/v1/uploads",
            set(),
            {"Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"},
        ),
    ],
)
def test_headers_of_tus_are_declared(
    document: Json, method: str, path: str, sent: set[str], answered: set[str]
) -> None:
    operation = operations_of(document)[method, path]
    success = min(operation["responses"])

    assert sent <= set(parameters_of(operation, "header"))
    assert answered <= set(operation["responses"][success]["headers"])


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/uploads"), ("PATCH", "/v1/uploads/{id}")])
def test_bodies_of_uploads_are_streams_of_bytes(document: Json, method: str, path: str) -> None:
    content = operations_of(document)[method, path]["requestBody"]["content"]

    assert {"application/offset+octet-stream": {"schema": {"type": "string", "format": "binary"}}} == content


def test_known_metadata_keys_are_described(document: Json) -> None:
    headers = parameters_of(operations_of(document)["POST", "/v1/uploads"], "header")

    assert [] == [
        key for key in KNOWN_FIELDS if f"- `{key}`: " not in headers["Upload-Metadata"]["description"]
    ]


def test_details_have_the_form_that_they_are_checked_for(document: Json) -> None:
    fields = document["components"]["schemas"]["EditRequest"]["properties"]

    assert {"description", "anyOf"} == set(fields["direction"])
    assert [{"enum": ["in", "out"]}, {"type": "null"}] == fields["direction"]["anyOf"]
    assert {"maxLength": 10_000, "type": "string"} == fields["note"]["anyOf"][0]
    assert {"type": "null"} == fields["labels"]["anyOf"][-1]
    assert set(KNOWN_FIELDS) == set(fields)
    assert [] == [name for name, field in fields.items() if not field["description"]]


@pytest.mark.parametrize(
    "filetype", ["audio/mp4", "audio/ogg; codecs=opus", "audio", "audio/", "audio/m p4", "", "a/b\t;c"]
)
def test_media_types_are_described_as_they_are_checked(document: Json, filetype: str) -> None:
    try:
        build_details({"filetype": filetype})
        is_taken = True
    except errors.InvalidField:
        is_taken = False
    (schema, _) = document["components"]["schemas"]["EditRequest"]["properties"]["filetype"]["anyOf"]

    assert is_taken == jsonschema.Draft202012Validator(schema).is_valid(filetype)


def test_query_parameters_are_those_that_are_read(document: Json) -> None:
    operation = operations_of(document)["GET", "/v1/recordings"]

    assert set(shapes.ListQuery.__struct_fields__) == set(parameters_of(operation, "query"))


def test_operators_limits_stand_in_the_document() -> None:
    settings = Settings.load(
        overrides={"uploads": {"max_length": 1000}, "recordings": {"max_page_size": 7}}, environment={}
    )
    operations = operations_of(api_document(list_operations(settings), tags=TAGS))

    length = parameters_of(operations["POST", "/v1/uploads"], "header")["Upload-Length"]
    page_size = parameters_of(operations["GET", "/v1/recordings"], "query")["limit"]
    assert 1000 == length["schema"]["maximum"]
    assert (7, 7) == (page_size["schema"]["maximum"], page_size["schema"]["default"])


def test_docstrings_of_fields_become_their_descriptions(document: Json) -> None:
    schemas = document["components"]["schemas"]

    assert "Bytes of audio." == schemas["RecordingDocument"]["properties"]["size"]["description"]
    assert "Stable; what a program switches on." == schemas["Problem"]["properties"]["code"]["description"]


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("x"),
        errors.Gone("x"),
        errors.Unauthenticated("x"),
        errors.InvalidField("x", "y"),
        errors.OffsetMismatch(offset=1, claimed=2),
        errors.ChecksumMismatch("x"),
        errors.TooLong("x", limit=1),
        errors.TooManyUploads("x"),
        errors.LengthConflict("x"),
        errors.OutOfRoom("x"),
        errors.Superseded("x"),
        errors.EditConflict("x"),
        errors.Unreadable("x"),
        BodyIdle(),
        SpoolFailed("x"),
        KeyringError("x"),
        DatabaseUnavailable("x"),
        RuntimeError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_problem_is_described_with_its_code_and_headers(error: Exception) -> None:
    response = problems.problem_of(error)
    refusal = REFUSALS[response.status]

    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["code"] in refusal.codes
    assert [] == [
        each.name for each in refusal.headers if each.is_required and each.name not in response.headers
    ]


@dataclass(frozen=True)
class Checked:
    """
    A client that believes the document and fails where an answer is not what it says.
    """

    document: Json
    http: aiohttp.ClientSession
    auth: Mapping[str, str]

    async def ask(
        self,
        method: str,
        template: str,
        *,
        id: str = "",  # noqa: A002
        headers: Mapping[str, str] | None = None,
        **sent: Any,
    ) -> tuple[int, Any, Mapping[str, str]]:
        path = template.replace("{id}", id)
        async with self.http.request(
            method, path, headers={**self.auth, **(headers or {})}, **sent
        ) as response:
            body = await response.read()
            declared = self._declared(method, template, response.status)
            for name, header in declared.get("headers", {}).items():
                assert not header["required"] or name in response.headers, f"{method} {path}: {name}"
            parsed = None
            if "content" not in declared:
                assert b"" == body
            elif response.content_type in declared["content"]:
                schema = declared["content"][response.content_type]["schema"]
                if response.content_type.endswith("json"):
                    parsed = json.loads(body)
                    jsonschema.validate(parsed, {**schema, "components": self.document["components"]})
            else:
                assert "*/*" in declared["content"]
            return response.status, parsed, response.headers

    def _declared(self, method: str, template: str, status: int) -> Json:
        responses = operations_of(self.document)[method, template]["responses"]
        assert str(status) in responses, f"{method} {template} answered {status}"
        declared: Json = responses[str(status)]
        if "$ref" in declared:
            name = declared["$ref"].rpartition("/")[2]
            declared = self.document["components"]["responses"][name]
        return declared


UPLOADS, UPLOAD = "/v1/uploads", "/v1/uploads/{id}"
RECORDINGS, RECORDING = "/v1/recordings", "/v1/recordings/{id}"


@pytest.fixture
async def checked(gateway: Served) -> Checked:
    _, auth = await gateway.new_user()
    async with gateway.http.get("/v1/openapi.json") as response:
        return Checked(await response.json(), gateway.http, auth)


async def test_answers_in_the_life_of_a_recording_are_as_documented(checked: Checked) -> None:
    ask = checked.ask
    for probe in ("/healthz", "/readyz", "/metrics", "/v1/receipt-keys", "/v1/openapi.json"):
        assert 200 == (await ask("GET", probe))[0]
    assert 204 == (await ask("OPTIONS", UPLOADS))[0]
    status, _, headers = await ask(
        "POST", UPLOADS, headers={**TUS, "Upload-Length": "20", "Upload-Metadata": "direction aW4="}
    )
    assert 201 == status
    one = headers["Location"].rpartition("/")[2]
    offset = {"Upload-Offset": "0"}
    assert 204 == (await ask("PATCH", UPLOAD, id=one, headers={**APPEND, **offset}, data=b"0" * 10))[0]
    assert 200 == (await ask("HEAD", UPLOAD, id=one, headers=TUS))[0]
    override = {**APPEND, "X-HTTP-Method-Override": "PATCH", "Upload-Offset": "10"}
    assert 204 == (await ask("POST", UPLOAD, id=one, headers=override, data=b"0" * 10))[0]
    assert 200 == (await ask("GET", UPLOAD, id=one))[0]
    assert 1 == len((await ask("GET", RECORDINGS, params={"direction": "in"}))[1]["recordings"])
    assert 200 == (await ask("GET", RECORDING, id=one))[0]
    assert "x" == (await ask("PATCH", RECORDING, id=one, json={"note": "x"}))[1]["note"]
    audio = f"{RECORDING}/audio"
    status, _, headers = await ask("HEAD", audio, id=one)
    assert 200 == status
    assert 206 == (await ask("GET", audio, id=one, headers={"Range": "bytes=0-3"}))[0]
    assert 304 == (await ask("GET", audio, id=one, headers={"If-None-Match": headers["ETag"]}))[0]
    assert 200 == (await ask("DELETE", RECORDING, id=one))[0]
    assert 200 == (await ask("GET", "/v1/receipts/{id}", id=one))[0]


async def test_refusals_are_as_documented(checked: Checked) -> None:
    ask = checked.ask
    new = {**TUS, "Upload-Length": "20"}
    one = (await ask("POST", UPLOADS, headers=new))[2]["Location"].rpartition("/")[2]
    full = (await ask("POST", UPLOADS, headers={**new, **APPEND}, data=b"0" * 20))[2]["Location"].rpartition(
        "/"
    )[2]
    first = {**APPEND, "Upload-Offset": "0"}
    for template, method in ((UPLOAD, "HEAD"), (UPLOAD, "GET"), (RECORDING, "GET"), (RECORDING, "DELETE")):
        assert 404 == (await ask(method, template, id=UNKNOWN_ID, headers=TUS))[0]
        assert 401 == (await ask(method, template, id=one, headers={**TUS, "Authorization": "Bearer x"}))[0]
    assert 400 == (await ask("POST", UPLOADS, headers=TUS))[0]
    assert 412 == (await ask("POST", UPLOADS))[0]
    assert 413 == (await ask("POST", UPLOADS, headers={**TUS, "Upload-Length": str(2**60)}))[0]
    assert 409 == (await ask("PATCH", UPLOAD, id=one, headers={**APPEND, "Upload-Offset": "7"}, data=b"0"))[0]
    assert 413 == (await ask("PATCH", UPLOAD, id=one, headers=first, data=b"0" * 21))[0]
    assert 415 == (await ask("PATCH", UPLOAD, id=one, headers={**TUS, "Upload-Offset": "0"}, data=b"0"))[0]
    wrong = {**first, "Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    assert 460 == (await ask("PATCH", UPLOAD, id=one, headers=wrong, data=b"0"))[0]
    assert 405 == (await ask("POST", UPLOAD, id=one, headers=TUS))[0]
    assert 204 == (await ask("DELETE", UPLOAD, id=one, headers=TUS))[0]
    assert 416 == (await ask("GET", f"{RECORDING}/audio", id=full, headers={"Range": "bytes=20-"}))[0]
    assert 400 == (await ask("GET", RECORDINGS, params={"limit": "0"}))[0]
    assert 400 == (await ask("PATCH", RECORDING, id=full, json={"direction": "up"}))[0]
    assert 412 == (await ask("PATCH", RECORDING, id=full, json={}, headers={"If-Match": '"9"'}))[0]
    assert 415 == (await ask("PATCH", RECORDING, id=full, data=b"{}"))[0]
