"""
What can go wrong with keys.

    KeyringError
    ├─ UnknownSlot            no user was ever given this slot
    ├─ SlotShredded           the whole account was shredded; its keys are gone for good
    ├─ LeafShredded           this recording was shredded; its key is gone for good
    ├─ IndexesExhausted       the user has used every index of his slot
    ├─ SlotsExhausted         the tree has no slot left
    ├─ ShredConflict          the same subject was asked for before, with other leaves
    ├─ NotShredded            a purge is reported for something that has no receipt
    ├─ TreeDamaged            a page or state is missing, or its key does not open it
    ├─ RoundOvertaken         another process moved the tree while this one wanted to
    ├─ ShredRefused           this keyring was opened for reading and adding users, or is closed
    ├─ ReceiptInvalid         a receipt is not what was signed; says what is wrong with it
    ├─ HeadInvalid            what says how far a log had come is not what was signed
    └─ RootStoreError         the place where roots live
       ├─ RootMissing         it has no root of this epoch
       │  └─ RootDamaged      it has something that may have been it
       ├─ RootExists          it has a root of this epoch already
       ├─ RootStoreFull       no slot is free
       ├─ RootStoreUnsafe     others may read it
       └─ RootStoreFailed     reading, writing or erasing failed

No message carries a key.
"""

from gateway.base.errors import GatewayError
from gateway.base.ids import Epoch, KeySlot, LeafIndex


class KeyringError(GatewayError):
    """
    The root of the keyring's errors.
    """

    code = "keyring"


class UnknownSlot(KeyringError):
    """
    No user was ever given this slot.
    """

    code = "unknown-slot"

    def __init__(self, slot: KeySlot) -> None:
        super().__init__(f"key slot {slot} was never given out")
        self.slot = slot


class SlotShredded(KeyringError):
    """
    The account in this slot was shredded, with everything it had.
    """

    code = "slot-shredded"

    def __init__(self, slot: KeySlot) -> None:
        super().__init__(f"key slot {slot} was shredded")
        self.slot = slot


class LeafShredded(KeyringError):
    """
    The key at this index was shredded.
    """

    code = "leaf-shredded"

    def __init__(self, slot: KeySlot, index: LeafIndex) -> None:
        super().__init__(f"leaf {index} of key slot {slot} was shredded")
        self.slot = slot
        self.index = index


class IndexesExhausted(KeyringError):
    """
    Every index of this slot was handed out; the user needs a new slot.
    """

    code = "indexes-exhausted"

    def __init__(self, slot: KeySlot) -> None:
        super().__init__(f"key slot {slot} has no index left to hand out")
        self.slot = slot


class SlotsExhausted(KeyringError):
    """
    Every slot of the tree was given out.
    """

    code = "slots-exhausted"


class ShredConflict(KeyringError):
    """
    A subject was asked for again with another kind, slot or range than the first time.
    """

    code = "shred-conflict"


class NotShredded(KeyringError):
    """
    The subject has no receipt yet, so nothing can be said about its purge.
    """

    code = "not-shredded"


class TreeDamaged(KeyringError):
    """
    A row of the key tree is missing, malformed, or does not open under the key that leads to it.
    """

    code = "tree-damaged"


class RoundOvertaken(KeyringError):
    """
    Another process moved the tree's head, or cleared this round's pending root away; nothing was changed.
    """

    code = "round-overtaken"


class ShredRefused(KeyringError):
    """
    The keyring does not shred: it stands beside the daemon's, or it is closed.
    """

    code = "shred-refused"


class ReceiptInvalid(KeyringError):
    """
    A receipt does not verify; the message names what is wrong.
    """

    code = "receipt-invalid"


class HeadInvalid(KeyringError):
    """
    A log's head does not verify; the message names what is wrong.
    """

    code = "head-invalid"


class RootStoreError(KeyringError):
    """
    The root store refused or failed.
    """

    code = "root-store"


class RootMissing(RootStoreError):
    """
    The store has no root of this epoch.
    """

    code = "root-missing"

    def __init__(self, epoch: Epoch, where: str) -> None:
        super().__init__(f"{where} has no root key of epoch {epoch}")
        self.epoch = epoch


class RootDamaged(RootMissing):
    """
    The store has no readable root of this epoch, and a damaged place where it may have been.
    """

    code = "root-damaged"

    def __init__(self, epoch: Epoch, where: str) -> None:
        super().__init__(epoch, where)
        self.args = (f"{where} is damaged, so the root key of epoch {epoch} cannot be read or erased safely",)


class RootExists(RootStoreError):
    """
    The store has a root of this epoch already.
    """

    code = "root-exists"

    def __init__(self, epoch: Epoch, where: str) -> None:
        super().__init__(f"{where} has a root key of epoch {epoch} already")
        self.epoch = epoch


class RootStoreFull(RootStoreError):
    """
    The store has no free place for one more root.
    """

    code = "root-store-full"


class RootStoreUnsafe(RootStoreError):
    """
    Others than the owner may read or change the store.
    """

    code = "root-store-unsafe"


class RootStoreFailed(RootStoreError):
    """
    Reading, writing or erasing a root failed.
    """

    code = "root-store-failed"
