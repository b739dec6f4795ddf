"""
Trying to open a stored blob with nothing but a key database and a root, and no catalog to stand in the way.
"""

from gateway.base.clock import SystemClock
from gateway.base.data_directory import DataDirectory
from gateway.crypto.chunked import MESSAGE_HEADER_SIZE, Opener
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from gateway.database import Database
from gateway.keyring import FileRootStore, Keyring
from gateway.keyring.errors import LeafShredded


def recording_of(sealed: bytes) -> str:
    """
    Return the id of the recording that a blob is of; its preamble says so in clear.
    """
    return str(Preamble.from_bytes(sealed[:PREAMBLE_SIZE]).recording_id)


async def open_blob(sealed: bytes, keys_of: DataDirectory) -> bytes | None:
    """
    Return the plaintext of a blob under the keys of a data directory, None where its key was shredded.
    """
    context, message = sealed[:PREAMBLE_SIZE], sealed[PREAMBLE_SIZE:]
    preamble = Preamble.from_bytes(context)
    database = await Database.connect(f"sqlite:///{keys_of.path / 'keys.db'}", schema=None)
    try:
        keyring = await Keyring.attach(database, FileRootStore(keys_of.root), SystemClock())
        try:
            leaf = await keyring.leaf(preamble.key_slot, preamble.leaf_index)
        except LeafShredded:
            return None
        finally:
            await keyring.close()
    finally:
        await database.close()
    opener = Opener(subkey(leaf, "audio"), context, message[:MESSAGE_HEADER_SIZE])
    return bytes(opener.open_chunks(0, message[MESSAGE_HEADER_SIZE:], ends_message=True))
