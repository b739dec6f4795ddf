"""
What the gateway does for its users: uploads, recordings, erasure, placement, accounts.

Each module is one use case.
It decides, and leaves bytes to `crypto`, rows to `catalog`, keys to `keyring`, files to `spool` and `backends`,
and knows nothing of HTTP.
"""
