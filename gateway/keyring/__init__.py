"""
Every user's keys: the key tree, rounds of shredding, root stores and receipts.

Owns the key database and the root store.
Knows recordings and users only as subjects with an id, and backends only as names in a receipt.
"""

from gateway.keyring.file_roots import FileRootStore
from gateway.keyring.heads import LogHead, read_head_document
from gateway.keyring.keyring import Keyring
from gateway.keyring.receipts import Receipt, subject_hash, verify_receipt
from gateway.keyring.requests import PurgeState, ShreddedEntry, ShredRequest
from gateway.keyring.roots import Acknowledgement, HolderAnswer, RootStore

__all__ = [
    "Acknowledgement",
    "FileRootStore",
    "HolderAnswer",
    "Keyring",
    "LogHead",
    "PurgeState",
    "Receipt",
    "RootStore",
    "ShredRequest",
    "ShreddedEntry",
    "read_head_document",
    "subject_hash",
    "verify_receipt",
]
