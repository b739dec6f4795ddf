"""
An older key database of the same epoch looks valid: nothing was shredded since. It must still do no harm.
"""

import shutil
from pathlib import Path

from tests.support.gateway import serving


async def test_an_older_key_database_of_the_same_epoch_hands_out_no_leaf_and_no_slot_twice(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    async with serving(data, with_workers=False, keyring={"index_block": 2}) as gateway:
        ada, auth = await gateway.new_user("Ada")
        await gateway.upload(auth, b"before")
    shutil.copy(data / "keys.db", tmp_path / "older.db")
    async with serving(data, with_workers=False, keyring={"index_block": 2}) as gateway:
        since = [await gateway.upload(auth, b"since %d" % number) for number in range(3)]
        lost, _ = await gateway.new_user("Bob")

    for name in ("keys.db", "keys.db-wal", "keys.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "older.db", data / "keys.db")

    async with serving(data, with_workers=False, keyring={"index_block": 2}) as gateway:
        after = await gateway.upload(auth, b"after")
        async with gateway.http.delete(f"/v1/recordings/{after}", headers=auth) as response:
            assert 200 == response.status
        for number, recording in enumerate(since):
            async with gateway.http.get(f"/v1/recordings/{recording}/audio", headers=auth) as response:
                assert b"since %d" % number == await response.read()
        carol, carols = await gateway.new_user("Carol")
        assert await gateway.upload(carols, b"hers")
        assert 3 == len({ada, lost, carol})
