import hashlib

from tests.support.gateway import Served


async def test_what_went_in_comes_out(served: Served) -> None:
    _, auth = await served.new_user()
    content = hashlib.sha256(b"x").digest() * 20_000
    recording = await served.upload(auth, content)
    for _ in range(2):
        async with served.http.get(f"/v1/recordings/{recording}/audio", headers=auth) as response:
            assert (200, content) == (response.status, await response.read())
        await served.placed()
