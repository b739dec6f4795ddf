"""
A client of the gateway's HTTP interface, for the commands that a person uses at a terminal.

Nothing here knows the command line or the server's inside: another program could do the same.
The commands import it when they run, so that ``--help`` need not wait for an HTTP library.
"""
