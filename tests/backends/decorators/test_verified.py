"""
Checks: what a backend keeps and gives is what it was asked for.
"""

import hashlib
from dataclasses import replace

import pytest

from gateway.api import IntegrityMismatch, Span, new_blob_key
from gateway.backends.verified import VerifiedBackend
from gateway.testing.conformance import read_all
from gateway.testing.sources import BytesSource, pattern
from tests.backends.decorators.scripted import TRAITS, ScriptedBackend

CONTENT = pattern(95)


@pytest.mark.parametrize("name", ["sha256", "md5"])
async def test_a_hash_that_agrees_is_accepted_and_another_refused(name: str) -> None:
    plugin = ScriptedBackend(replace(TRAITS, hash_offered=name))
    plugin.digest = hashlib.new(name, CONTENT).hexdigest()
    await VerifiedBackend(plugin).put(new_blob_key(), BytesSource(CONTENT))
    plugin.digest = hashlib.new(name, b"other").hexdigest()
    kept = dict(plugin.blobs)
    with pytest.raises(IntegrityMismatch):
        await VerifiedBackend(plugin).put(new_blob_key(), BytesSource(CONTENT))
    assert kept == plugin.blobs


async def test_a_hash_of_the_providers_own_is_not_judged() -> None:
    plugin = ScriptedBackend(replace(TRAITS, hash_offered="quickxor"))
    plugin.digest = "00"
    await VerifiedBackend(plugin).put(new_blob_key(), BytesSource(CONTENT))


async def test_a_blob_of_another_size_is_refused_and_removed() -> None:
    plugin = ScriptedBackend()
    plugin.stored = lambda content: content[:-1]
    with pytest.raises(IntegrityMismatch):
        await VerifiedBackend(plugin).put(new_blob_key(), BytesSource(CONTENT))
    puts = VerifiedBackend(plugin).resumable
    assert puts is not None
    session = await puts.append(await puts.begin(new_blob_key(), size=95, sha256=bytes(32)), CONTENT)
    with pytest.raises(IntegrityMismatch):
        await puts.commit(session)
    assert {} == plugin.blobs


@pytest.mark.parametrize("span", [None, Span(5, 50)])
async def test_a_read_gives_exactly_what_was_asked_for(span: Span | None) -> None:
    plugin = ScriptedBackend()
    backend = VerifiedBackend(plugin)
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert (CONTENT if span is None else CONTENT[5:55]) == await read_all(backend, ref, span)
    plugin.read_surplus = b"x"
    with pytest.raises(IntegrityMismatch):
        await read_all(backend, ref, span)
    with pytest.raises(IntegrityMismatch):
        await read_all(backend, ref, Span(90, 50))
