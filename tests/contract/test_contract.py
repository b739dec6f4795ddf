"""
A client that believes the OpenAPI document, and tries whatever that allows and forbids.
"""

import asyncio
import sys
from pathlib import Path

from gateway.http.routes import list_operations
from gateway.settings import passed_environment
from tests.support.gateway import serving

ROOT = Path(__file__).parents[2]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_every_answer_is_one_that_the_document_promises(tmp_path: Path, thoroughness: int) -> None:
    async with serving(tmp_path / "data", log={"level": "error"}) as gateway:
        _, auth = await gateway.new_user()
        await gateway.upload(auth, b"spoken words")
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{gateway.url}/v1/openapi.json",
            *("--header", f"Authorization: {auth['Authorization']}"),
            *("--max-examples", str(10 * thoroughness)),
            *("--phases", "coverage,fuzzing"),
            *("--checks", CHECKS),
            *("--seed", "1"),
            # Whoever may leave does so with one of the first requests, and the others have nothing to ask for.
            *("--exclude-operation-id", "leave"),
            "--no-color",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
            env={
                **passed_environment(),
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.contract.serializers",
            },
        )
        said, _ = await client.communicate()
    assert 0 == client.returncode, said.decode()
    # All but that one, and the one that it has the document itself from.
    offered = [
        one for one in list_operations(gateway.gateway.settings) if one.name not in ("getOpenapi", "leave")
    ]
    assert f"Tested: {len(offered)}" in said.decode(), said.decode()
