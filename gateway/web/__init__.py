"""
Pages for people: what this is, whether it is well, and how its API is used.

Made on the server, with nothing from elsewhere and no script.
"""
