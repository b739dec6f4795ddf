"""
What schemathesis must be told: how a body of tus' media type is sent.
"""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def _as_it_is(context: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
