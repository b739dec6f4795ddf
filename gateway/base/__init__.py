"""
Words that every part of the gateway shares: identifiers, secrets, clocks and the root of all errors.

This package knows nothing of the rest.
"""
