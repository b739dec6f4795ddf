"""
Mail: what a message looks like, and handing it to a mail server.

Knows addresses and bytes; whose they are, and what became of a message, is for others.
"""
