"""
Keys are in no log line, no message and no traceback, even one that shows every local variable.
"""

import logging
import traceback

import pytest

from gateway.base.ids import Epoch, LeafIndex
from gateway.keyring.errors import TreeDamaged
from tests.keyring.world import Fault, World


def traces_of(key: bytes, text: str) -> bool:
    return key.hex() in text or repr(key)[2:-1] in text or repr(key[:8])[2:-1] in text


async def test_no_key_is_logged_or_shown_in_a_traceback(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def show(error: BaseException) -> None:
        assert error.__traceback__ is not None
        # Without this test's own frame, which has collected the keys.
        below = error.__traceback__.tb_next
        shown.extend(traceback.TracebackException(type(error), error, below, capture_locals=True).format())

    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    await keyring.leaf(slot, LeafIndex(0))
    keys = world.attacker.keys()
    for step in ("1-root-put", "2-before-commit", "2-committed", "3-read-back", "5-before-commit"):
        world.steps.fail_at(step, Fault(step))
        with pytest.raises(Fault) as fault:
            await keyring._rounds.shred([world.recording(slot, 0), world.account(other)])
        keys |= world.attacker.keys()
        show(fault.value)
    await world.sql("DELETE FROM tree_states WHERE slot = 1")
    with pytest.raises(TreeDamaged) as damaged:
        await keyring.leaf(slot, LeafIndex(1))
    show(damaged.value)
    assert (await world.roots.read(Epoch(await world.epoch()))).reveal() in keys
    assert len(keys) > 20
    text = "\n".join([*shown, caplog.text])
    assert "self" in text
    assert [] == [key for key in keys if traces_of(key, text)]
