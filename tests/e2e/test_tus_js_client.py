"""
tus-js-client, which nobody here wrote, against a daemon process.
"""

import asyncio
from pathlib import Path

from tests.e2e.conftest import Person, Sample, spooled
from tests.e2e.tus_js import File, tus_js
from tests.support.forked_daemon import ForkedDaemon
from tests.support.tcp_proxy import proxying


async def test_a_spoken_call_goes_in_whole_and_ends_with_its_deletion(person: Person, spoken: Sample) -> None:
    """
    As tus-js-client's own end-to-end tests: create, upload, GET the content, HEAD the metadata, DELETE, and 404.
    """
    file = File(spoken.path, spoken.metadata)
    async with tus_js(person.daemon.url, person.auth, [file]) as client:
        url = (await client.event("success"))["url"]
        assert ["POST", "PATCH"] == [r["method"] for r in client.events if r["event"] == "request"]
    await person.has(url, spoken)
    path = url.removeprefix(person.daemon.url)
    status, headers = await person.head(path)
    size = str(len(spoken.content))
    assert (200, size, size) == (status, headers["Upload-Offset"], headers["Upload-Length"])
    pairs = dict(pair.split(" ") for pair in headers["Upload-Metadata"].split(","))
    assert set(spoken.metadata) == set(pairs)

    deleted = File(spoken.path, {}, upload_url=url)
    async with tus_js(person.daemon.url, person.auth, [deleted], terminate=True) as client:
        await client.event("terminated")
    assert 404 == (await person.head(path))[0]
    assert 404 == (await person.get(path))[0]
    assert [] == await person.recordings()


async def test_chunks_follow_one_another(person: Person, long_call: Sample) -> None:
    file = File(long_call.path, long_call.metadata)
    async with tus_js(person.daemon.url, person.auth, [file], chunkSize=250_000) as client:
        url = (await client.event("success"))["url"]
        assert -(-len(long_call.content) // 250_000) == len(client.requests("PATCH"))
    await person.has(url, long_call)


async def test_the_first_bytes_may_come_with_the_creation(person: Person, long_call: Sample) -> None:
    file = File(long_call.path, long_call.metadata)
    async with tus_js(
        person.daemon.url, person.auth, [file], uploadDataDuringCreation=True, chunkSize=2_000_000
    ) as client:
        url = (await client.event("success"))["url"]
        created = next(event for event in client.events if event["event"] == "answer")
        assert ("POST", 201, "2000000") == (created["method"], created["status"], created["offset"])
        assert ["2000000"] == [request["offset"] for request in client.requests("PATCH")]
    await person.has(url, long_call)


async def test_a_small_file_may_come_whole_with_the_creation(person: Person, spoken: Sample) -> None:
    file = File(spoken.path, spoken.metadata)
    async with tus_js(person.daemon.url, person.auth, [file], uploadDataDuringCreation=True) as client:
        url = (await client.event("success"))["url"]
        assert [] == client.requests("PATCH")
    await person.has(url, spoken)


async def test_a_stream_tells_its_length_at_its_end(person: Person, long_call: Sample) -> None:
    file = File(long_call.path, long_call.metadata, is_stream=True)
    async with tus_js(
        person.daemon.url, person.auth, [file], uploadLengthDeferred=True, chunkSize=600_000
    ) as client:
        url = (await client.event("success"))["url"]
        assert ["1"] == [request["deferred"] for request in client.requests("POST")]
        lengths = [request["length"] for request in client.requests("PATCH")]
        assert [str(len(long_call.content))] == [length for length in lengths if length is not None]
    await person.has(url, long_call)


async def test_an_upload_goes_on_by_itself_after_the_daemon_was_killed(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    async with proxying(daemon.url) as proxy:
        file = File(long_call.path, long_call.metadata)
        async with tus_js(proxy.url, person.auth, [file]) as client:
            await client.event("request", method="PATCH")
            proxy.hang_after(2_000_000)
            await proxy.has_hung()
            await spooled(daemon, 1_000_000)
            daemon.kill()
            await daemon.start()
            proxy.flow()
            url = (await client.event("success"))["url"]
            offsets = [int(request["offset"]) for request in client.requests("PATCH")]
    # What the dead daemon had sealed and written counts.
    assert 0 == offsets[0] < 900_000 < offsets[-1] <= 2_000_000
    await person.has(url, long_call)


async def test_another_run_of_the_app_goes_on_where_a_killed_daemon_was_left(
    person: Person, daemon: ForkedDaemon, long_call: Sample, tmp_path: Path
) -> None:
    file = File(long_call.path, long_call.metadata)
    memory = tmp_path / "urls.json"
    memory.write_text("{}")
    async with tus_js(
        daemon.url, person.auth, [file], storage=memory, chunkSize=400_000, abort_at=1_200_000
    ) as client:
        await client.event("aborted")
    daemon.kill()
    await daemon.start()
    async with tus_js(daemon.url, person.auth, [file], storage=memory, chunkSize=400_000) as client:
        url = (await client.event("success"))["url"]
        assert [] == client.requests("POST")
        assert "1200000" == client.requests("PATCH")[0]["offset"]
    await person.has(url, long_call)


async def test_a_last_answer_that_is_lost_costs_nothing(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    async with proxying(daemon.url) as proxy:
        file = File(long_call.path, long_call.metadata)
        size = len(long_call.content)
        async with tus_js(proxy.url, person.auth, [file]) as client:
            await client.event("request", method="PATCH")
            proxy.lose_answers()
            url = (await client.event("success"))["url"]
            assert 1 == len(client.requests("PATCH"))
            told = [event for event in client.events if event["event"] == "answer"]
            assert ("HEAD", 200, str(size)) == tuple(
                told[-1][name] for name in ("method", "status", "offset")
            )
    await person.has(url, long_call)


async def test_a_connection_cut_again_and_again_never_takes_an_offset_back(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    async with proxying(daemon.url) as proxy:
        file = File(long_call.path, long_call.metadata)
        async with tus_js(proxy.url, person.auth, [file]) as client:
            for _ in range(4):
                await client.event("request", method="PATCH")
                proxy.cut_after(700_000)
            url = (await client.event("success"))["url"]
            offsets = [int(request["offset"]) for request in client.requests("PATCH")]
        assert 4 == proxy.cuts
    assert sorted(offsets) == offsets
    assert offsets[-1] > 0
    await person.has(url, long_call)


async def test_an_upload_is_terminated_in_the_middle(person: Person, long_call: Sample) -> None:
    file = File(long_call.path, long_call.metadata)
    async with tus_js(
        person.daemon.url, person.auth, [file], chunkSize=400_000, abort_at=800_000, terminate=True
    ) as client:
        url = (await client.event("aborted"))["url"]
    assert 404 == (await person.head(url.removeprefix(person.daemon.url)))[0]
    assert [] == await person.recordings()
    assert [] == list((person.daemon.data_dir / "spool").iterdir())


async def test_several_files_go_up_at_once(person: Person, long_call: Sample, tmp_path: Path) -> None:
    samples = []
    for number in range(5):
        path = tmp_path / f"part {number}.m4a"
        path.write_bytes(long_call.content[number * 100_001 :])
        samples.append(Sample(path, {"filename": path.name, "filetype": "audio/mp4"}))
    files = [File(sample.path, sample.metadata) for sample in samples]
    async with tus_js(person.daemon.url, person.auth, files, chunkSize=300_000) as client:
        for _ in files:
            await client.event("success")
        urls = {e["number"]: e["url"] for e in client.events if e["event"] == "success"}
    for number, sample in enumerate(samples):
        await person.has(urls[number], sample)


async def test_parts_to_be_put_together_are_refused_and_leave_no_half_recordings(
    person: Person, long_call: Sample
) -> None:
    """
    `parallelUploads` needs the concatenation extension, which is not offered.
    """
    file = File(long_call.path, long_call.metadata)
    async with tus_js(person.daemon.url, person.auth, [file], parallelUploads=2) as client:
        failed = [event for event in await client.rest() if event["event"] == "failed"]
    assert [400] == [event["status"] for event in failed]
    assert "Upload-Concat" in failed[0]["message"]
    assert [] == await person.recordings()


async def test_a_revoked_token_loses_no_byte_and_a_new_one_goes_on(person: Person, long_call: Sample) -> None:
    second = await person.daemon.new_token(person.user_id)
    file = File(long_call.path, long_call.metadata)
    async with tus_js(person.daemon.url, person.auth, [file], chunkSize=300_000) as client:
        await client.event("chunk", accepted=1_200_000)
        await person.daemon.revoke_token(person.auth)
        refused = await client.event("answer", status=401)
        client.sign_in(second["Authorization"].removeprefix("Bearer "))
        url = (await client.event("success"))["url"]
        patches = [int(request["offset"]) for request in client.requests("PATCH")]
    assert "PATCH" == refused["method"]
    # The refused one is sent again from the same byte, and nothing before it is.
    assert 1 == len(patches) - len(set(patches))
    assert sorted(patches) == patches
    person.auth = second
    await person.has(url, long_call)


async def test_an_expired_token_loses_no_byte_and_a_new_one_goes_on(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    first = await daemon.new_token(person.user_id, lifetime_s=1)
    async with proxying(daemon.url) as proxy:
        file = File(long_call.path, long_call.metadata)
        async with tus_js(proxy.url, first, [file], chunkSize=500_000) as client:
            await client.event("chunk", accepted=500_000)
            proxy.hang()
            async with asyncio.timeout(10):
                while (await person.status_with(first)) != 401:
                    pass
            proxy.flow()
            await client.event("answer", status=401)
            client.sign_in(person.auth["Authorization"].removeprefix("Bearer "))
            url = (await client.event("success"))["url"]
    await person.has(url, long_call)
