"""
The built-in backend: blobs as files in a folder of this machine.

It is a plugin like any other, found through our own distribution's entry point.
"""

from gateway.api import API_VERSION, BackendKind, hookimpl
from gateway.backends.local.backend import connect, open_file
from gateway.backends.local.settings import LocalSettings


@hookimpl
def gateway_register_backends() -> list[BackendKind[LocalSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        BackendKind(
            name="local",
            api_version=API_VERSION,
            settings_type=LocalSettings,
            connect=connect,
            open_file=open_file,
        )
    ]
