import json
from pathlib import Path

from tests.cli.conftest import Shell
from tests.support.gateway import serving


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


async def test_a_parked_job_is_shown_with_its_reason_and_can_be_tried_again(operator: Shell) -> None:
    recording = await a_parked_job(operator.data_dir)
    place = ["--data-dir", operator.data_dir]

    (job,) = json.loads(operator.out("job", "list", "--json", *place))
    assert ("place", recording, "parked") == (job["kind"], job["subject_id"], job["state"])
    assert "missing" in job["last_error"]

    retried = operator.run("job", "retry", *place, job["id"])
    assert 0 == retried.returncode
    assert "1 job will be tried again" in retried.stderr
    (job,) = json.loads(operator.out("job", "list", "--json", *place))
    assert ("ready", 0) == (job["state"], job["attempts"])


async def test_retrying_a_job_that_is_not_set_aside_fails(operator: Shell) -> None:
    await a_parked_job(operator.data_dir)
    refused = operator.run("job", "retry", "--data-dir", operator.data_dir, "nothing")
    assert (1, "") == (refused.returncode, refused.stdout)
    assert "nothing" in refused.stderr


def test_retry_wants_one_job_or_all(operator: Shell) -> None:
    usage = operator.run("job", "retry", "--data-dir", operator.data_dir)
    assert 2 == usage.returncode
