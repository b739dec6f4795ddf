"""
A storage plugin: blobs as files in a folder of the user's own Google Drive.
"""

from gateway.api import API_VERSION, BackendKind, hookimpl
from gateway_gdrive.backend import connect
from gateway_gdrive.oauth import oauth_profile
from gateway_gdrive.settings import GDriveSettings


@hookimpl
def gateway_register_backends() -> list[BackendKind[GDriveSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        BackendKind(
            name="gdrive",
            title="Google Drive",
            api_version=API_VERSION,
            settings_type=GDriveSettings,
            connect=connect,
            oauth=oauth_profile,
            secret_settings=frozenset({"client_secret"}),
            needs_lane=True,
        )
    ]
