"""
The clouds, each with its own plugin: linked by consent, used, refreshed and unlinked as any other account is.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.api import new_blob_key
from gateway.testing.sources import BytesSource
from tests.emulators.cloud import Cloud
from tests.emulators.dropbox.cloud import DropboxEmulator
from tests.emulators.gdrive.cloud import DriveEmulator
from tests.emulators.onedrive.graph import GraphEmulator
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

CLOUDS: list[type[Cloud]] = [DriveEmulator, DropboxEmulator, GraphEmulator]


@pytest.fixture(params=CLOUDS, ids=lambda cloud: cloud.kind)
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with request.param() as cloud:
        yield cloud


@pytest.fixture
async def gateway(cloud: Cloud, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Served]:
    settings = cloud.settings()  # type: ignore[attr-defined]
    async with serving(
        tmp_path / "data", clock=clock, with_workers=False, links={"kinds": {cloud.kind: settings}}
    ) as served:
        yield served


async def test_a_cloud_is_linked_used_refreshed_and_unlinked(
    cloud: Cloud, gateway: Served, clock: FakeClock
) -> None:
    _, auth = await gateway.new_user()
    account = cloud.new_account()
    async with gateway.http.post(f"/v1/links/{cloud.kind}", headers=auth) as response:
        assert 202 == response.status, await response.text()
        url = (await response.json())["authorize_url"]
    back = urlsplit(cloud.oauth.approve(url, account))  # type: ignore[attr-defined]
    async with gateway.http.get(f"{back.path}?{back.query}") as response:
        assert 200 == response.status, await response.text()
    async with gateway.http.get("/v1/links", headers=auth) as response:
        [link] = (await response.json())["links"]
    assert ("ok", cloud.kind) == (link["state"], link["kind"])
    assert link["label"]

    key = new_blob_key()
    async with gateway.gateway.links.places.at(link["id"]) as backend:
        ref = await backend.put(key, BytesSource(b"sealed" * 1000))
    # The access token runs out, as the provider and as the gateway count.
    cloud.oauth.expire_access_tokens()  # type: ignore[attr-defined]
    async with (
        gateway.gateway.links.places.at(link["id"]) as backend,
        backend.read(ref) as pieces,
    ):
        assert b"sealed" * 1000 == b"".join([piece async for piece in pieces])

    cloud.oauth.revoke(account)  # type: ignore[attr-defined]
    cloud.oauth.expire_access_tokens()  # type: ignore[attr-defined]
    async with gateway.http.post(f"/v1/links/{link['id']}/check", headers=auth) as response:
        assert "revoked" == (await response.json())["state"]

    async with gateway.http.delete(f"/v1/links/{link['id']}", headers=auth) as response:
        assert 204 == response.status, await response.text()


async def test_a_onedrive_whose_app_folder_refuses_is_linked_with_wider_scopes(
    tmp_path: Path, clock: FakeClock
) -> None:
    with GraphEmulator() as cloud:
        cloud.app_folder_is_broken = True
        account = cloud.new_account()
        async with serving(
            tmp_path / "data",
            clock=clock,
            with_workers=False,
            links={"kinds": {"onedrive": cloud.settings()}},
        ) as served:
            _, auth = await served.new_user()
            wanted: dict[str, str] = {}
            states = []
            for _ in range(2):
                async with served.http.post("/v1/links/onedrive", headers=auth, json=wanted) as response:
                    url = (await response.json())["authorize_url"]
                back = urlsplit(cloud.oauth.approve(url, account))
                async with served.http.get(f"{back.path}?{back.query}") as response:
                    assert 200 == response.status, await response.text()
                async with served.http.get("/v1/links", headers=auth) as response:
                    [link] = (await response.json())["links"]
                wanted = {"relink": link["id"]}
                states.append(link["state"])

    assert ["scope_missing", "ok"] == states
