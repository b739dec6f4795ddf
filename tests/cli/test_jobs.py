import asyncio
import json
from pathlib import Path

from tests.support.gateway import Daemon, serving


async def a_parked_job(data_dir: Path) -> str:
    """
    Upload a recording whose spool file is then lost, and let its placement fail for good.
    """
    async with serving(data_dir, with_workers=False, jobs={"max_attempts": 1}) as gateway:
        _, auth = await gateway.new_user()
        recording = await gateway.upload(auth, b"spoken words")
        for piece in (data_dir / "spool").iterdir():
            piece.unlink()
        await gateway.placed()
    return recording


async def test_a_parked_job_is_shown_with_its_reason_and_can_be_tried_again(tmp_path: Path) -> None:
    recording = await a_parked_job(tmp_path / "data")
    daemon = Daemon(tmp_path / "data")
    place = ["--data-dir", str(tmp_path / "data")]

    listed = await asyncio.to_thread(daemon.command, "job", "list", "--json", *place)
    (job,) = json.loads(listed.stdout)
    assert ("place", recording, "parked") == (job["kind"], job["subject_id"], job["state"])
    assert "missing" in job["last_error"]

    retried = await asyncio.to_thread(daemon.command, "job", "retry", *place, job["id"])
    assert "1 job will be tried again" in retried.stderr
    (job,) = json.loads((await asyncio.to_thread(daemon.command, "job", "list", "--json", *place)).stdout)
    assert ("ready", 0) == (job["state"], job["attempts"])


async def test_retrying_a_job_that_is_not_set_aside_fails(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    await a_parked_job(tmp_path / "data")
    refused = await asyncio.to_thread(
        lambda: daemon.command("job", "retry", "--data-dir", str(tmp_path / "data"), "nothing", check=False)
    )
    assert (1, "") == (refused.returncode, refused.stdout)
    assert "nothing" in refused.stderr


async def test_retry_wants_one_job_or_all(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    usage = await asyncio.to_thread(
        lambda: daemon.command("job", "retry", "--data-dir", str(tmp_path / "data"), check=False)
    )
    assert 2 == usage.returncode
