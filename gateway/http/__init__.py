"""
The wire: what comes in as HTTP and goes out as HTTP.

Parses, asks a service, and shapes the answer; decides nothing.
"""
