"""
The database of facts: who there is, what was uploaded, where it lies, and what work is left.

Holds no plaintext about a recording and no usable key; may be backed up and restored freely.
Each module here has the queries of one subject.
A query takes the connection of a transaction that its caller opened, so that a service can put several into one.
"""
