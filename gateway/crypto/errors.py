"""
What can go wrong with sealed bytes.

    CryptoError
    ├─ WrongKey           the commitment differs: not this key, or not this context
    ├─ DamagedChunk       a chunk is not what was sealed at its place
    ├─ Truncated          a message ends before its last chunk can
    ├─ MalformedBlob      not a blob of ours, or of a version we don't know
    ├─ MalformedState     not the serialised tree of a user
    ├─ LeafPunctured      this key was given up for good
    ├─ SealBroken         a record or wrapped key does not open
    └─ SignatureWrong     not signed by this key

All but the sixth mean that bytes are not what was written.
No message carries a key or a byte of plaintext.
"""

from gateway.base.errors import GatewayError
from gateway.base.ids import LeafIndex


class CryptoError(GatewayError):
    """
    The root of all errors about sealed bytes and their keys.
    """

    code = "crypto"


class WrongKey(CryptoError):
    """
    The message commits to another key or another context; nothing of it was opened.
    """

    code = "wrong-key"

    def __init__(self) -> None:
        super().__init__("the message was sealed under another key, or for another context")


class DamagedChunk(CryptoError):
    """
    A chunk does not verify at its place; *chunk* is its number.
    """

    code = "damaged-chunk"

    def __init__(self, chunk: int) -> None:
        super().__init__(f"chunk {chunk} is not what was sealed there")
        self.chunk = chunk


class Truncated(CryptoError):
    """
    The message is too short for its last chunk, so its end is missing.
    """

    code = "truncated"


class MalformedBlob(CryptoError):
    """
    The preamble or the size is none that a writer produces; the message names the field.
    """

    code = "malformed-blob"


class MalformedState(CryptoError):
    """
    The serialised tree is none that a writer produces.
    """

    code = "malformed-state"


class LeafPunctured(CryptoError):
    """
    The leaf at *index* can no longer be derived by anybody.
    """

    code = "leaf-punctured"

    def __init__(self, index: LeafIndex) -> None:
        super().__init__(f"leaf {index} was punctured")
        self.index = index


class SealBroken(CryptoError):
    """
    A record does not open: it is damaged, another place's, or another key's.
    """

    code = "seal-broken"

    def __init__(self) -> None:
        super().__init__("the record was not sealed under this key for this place")


class SignatureWrong(CryptoError):
    """
    The signature is not this key's for this message.
    """

    code = "signature-wrong"
