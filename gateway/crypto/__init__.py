"""
The sealed format: bytes in, bytes out.

The package is written to be read beside ``docs/FORMAT.md``; the code cites its clauses and uses its words.

- `preamble`: which recording a blob is, and which key opens it (FORMAT §2).
- `chunked`: sealing and opening one message, with random access (FORMAT §3).
- `pieces`: how much of a message counts that a crash cut short (FORMAT §4).
- `ggm`: the puncturable tree of one user's keys (FORMAT §5).
- `keys`: sub-keys of a leaf, and the id of a root (FORMAT §5, §6).
- `wrap`: small records and wrapped keys (FORMAT §5, §6).
- `signing`: signatures on receipts.
- `errors`: what can go wrong, each fault a class of its own.

Nothing here does I/O, awaits, or asks for the time.
It is the only package that imports `cryptography`, and the only one that makes salts, nonces and labels of derivations.
"""
