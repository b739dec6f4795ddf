"""
A storage plugin: blobs as files in the app folder of a Dropbox account that its user linked.
"""

from gateway.api import API_VERSION, BackendKind, hookimpl
from gateway_dropbox.backend import connect
from gateway_dropbox.oauth import profile
from gateway_dropbox.settings import DropboxSettings


@hookimpl
def gateway_register_backends() -> list[BackendKind[DropboxSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        BackendKind(
            name="dropbox",
            title="Dropbox",
            api_version=API_VERSION,
            settings_type=DropboxSettings,
            connect=connect,
            oauth=profile,
            secret_settings=frozenset({"client_secret"}),
            needs_lane=True,
        )
    ]
