"""
A storage plugin: blobs as files in the app folder of a Microsoft OneDrive that its user links himself.
"""

from gateway.api import API_VERSION, BackendKind, hookimpl
from gateway_onedrive.backend import connect
from gateway_onedrive.oauth import profile
from gateway_onedrive.settings import OneDriveSettings


@hookimpl
def gateway_register_backends() -> list[BackendKind[OneDriveSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        BackendKind(
            name="onedrive",
            title="Microsoft OneDrive",
            api_version=API_VERSION,
            settings_type=OneDriveSettings,
            connect=connect,
            oauth=profile,
            secret_settings=frozenset({"client_secret"}),
        )
    ]
