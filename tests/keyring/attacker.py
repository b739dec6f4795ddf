"""
Somebody who wrote down every row that was ever sent to the key database, also those of transactions that never
committed, and who then takes the root store as it is now.

He tries every key he has on every row he has until nothing new opens.
He uses nothing of the gateway's code; what he knows is FORMAT §5 and §6.
"""

import hmac
import struct
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from sqlalchemy import event
from sqlalchemy.engine import Engine


class Attacker:
    def __init__(self, root_file: Path, notebook: Path | None = None) -> None:
        """
        Look for roots in *root_file*; with a *notebook*, share what is written down with other processes.
        """
        self._root_file = root_file
        self._notebook = notebook
        self._stolen_roots: list[bytes] = []
        # (depth, first slot, epoch, sealed); depth 4 is a user's state.
        self._rows: set[tuple[int, int, int, bytes]] = set()
        self._tree_ids: set[bytes] = set()

    def listen_to(self, engine: Engine) -> None:
        """
        Write down whatever this engine sends.
        """

        @event.listens_for(engine, "before_cursor_execute")
        def write_down(
            connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
        ) -> None:
            if "INSERT INTO tree_head" in statement:
                self._tree_ids |= {
                    bytes(value) for value in parameters if isinstance(value, bytes | memoryview)
                }
            if "tree_pages" not in statement and "tree_states" not in statement:
                return
            for row in parameters if executemany else [parameters]:
                sealed = [bytes(value) for value in row if isinstance(value, bytes | memoryview)]
                numbers = [value for value in row if isinstance(value, int)]
                if not sealed:
                    continue
                place = numbers[:-1] if statement.startswith("INSERT") else numbers[1:]
                epoch = numbers[-1] if statement.startswith("INSERT") else numbers[0]
                depth, slot = place if "tree_pages" in statement else (4, place[0])
                self._rows.add((depth, slot, epoch, sealed[0]))
                if self._notebook is not None:
                    with self._notebook.open("a") as notebook:
                        notebook.write(f"{depth} {slot} {epoch} {sealed[0].hex()}\n")

    def read_notebook(self) -> None:
        """
        Learn what other processes wrote down.
        """
        assert self._notebook is not None
        for line in self._notebook.read_text().splitlines():
            depth, slot, epoch, sealed = line.split()
            self._rows.add((int(depth), int(slot), int(epoch), bytes.fromhex(sealed)))

    def steal_roots(self) -> None:
        """
        Keep a copy of the root store as it is now, as a snapshot of the disk would.
        """
        self._stolen_roots += self._live_roots()

    def reachable_states(self, *, with_stolen_roots: bool = False) -> list[tuple[int, bytes]]:
        """
        Return slot and content of every state that opens.
        """
        return self._close_over(self._live_roots() + (self._stolen_roots if with_stolen_roots else []))[1]

    def keys(self) -> set[bytes]:
        """
        Return every key that the live root store leads to: roots, entries of pages, nodes of states.
        """
        keys, states = self._close_over(self._live_roots())
        return keys | {seed for _, content in states for _, _, seed in struct.iter_unpack(">BI32s", content)}

    def can_derive(self, slot: int, index: int, *, with_stolen_roots: bool = False) -> bool:
        """
        Whether any state that opens still yields this leaf.
        """
        states = self.reachable_states(with_stolen_roots=with_stolen_roots)
        return any(slot == of and _covers(content, index) for of, content in states)

    def leaf(self, slot: int, index: int) -> bytes:
        """
        Return a leaf that `can_derive`.
        """
        for of, content in self.reachable_states():
            for depth, prefix, seed in struct.iter_unpack(">BI32s", content):
                if of == slot and prefix >> (32 - depth) == index >> (32 - depth):
                    key: bytes = seed
                    for level in range(depth, 32):
                        key = hmac.digest(key, b"ggm" + bytes([index >> (31 - level) & 1]), "sha256")
                    return key
        raise LookupError

    def _close_over(self, keys: list[bytes]) -> tuple[set[bytes], list[tuple[int, bytes]]]:
        """
        Try every key on every row until nothing new opens; return all keys, and the states.
        """
        keys = list(keys)
        tried: set[bytes] = set()
        closed = set(self._rows)
        states: list[tuple[int, bytes]] = []
        while keys:
            key = keys.pop()
            if key in tried:
                continue
            tried.add(key)
            for row in list(closed):
                content = self._open(row, key)
                if content is None:
                    continue
                closed.discard(row)
                if row[0] == 4:
                    states.append((row[1], content))
                else:
                    keys += [content[at + 1 : at + 33] for at in range(0, len(content), 33)]
        return tried, states

    def _live_roots(self) -> list[bytes]:
        """
        Take any 32 bytes at the place of a key, whatever the rest of the slot says.
        """
        if not self._root_file.exists():
            return []
        content = self._root_file.read_bytes()
        roots = [content[at + 16 : at + 48] for at in range(0, len(content), 4096)]
        return [root for root in roots if any(root)]

    def _open(self, row: tuple[int, int, int, bytes], key: bytes) -> bytes | None:
        depth, slot, epoch, sealed = row
        kind = b"S" if depth == 4 else b"P"
        for tree_id in self._tree_ids:
            place = tree_id + kind + struct.pack(">BIQ", depth, slot, epoch)
            try:
                return AESGCMSIV(key).decrypt(sealed[:12], sealed[12:], place)
            except InvalidTag:
                continue
        return None


def _covers(state: bytes, index: int) -> bool:
    return any(
        prefix >> (32 - depth) == index >> (32 - depth)
        for depth, prefix, _ in struct.iter_unpack(">BI32s", state)
    )
