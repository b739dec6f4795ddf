"""
A storage plugin: blobs as files in the app folder of a Microsoft OneDrive that its user links himself.
"""

from gateway.api import API_VERSION, BackendKind, IdentityKind, hookimpl
from gateway_onedrive.backend import connect
from gateway_onedrive.identity import MicrosoftSignInSettings, sign_in_profile
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


@hookimpl
def gateway_register_identities() -> list[IdentityKind[MicrosoftSignInSettings]]:
    """
    Return the way of signing in with the same provider's accounts.
    """
    return [
        IdentityKind(
            name="microsoft",
            space="microsoft",
            title="Microsoft",
            api_version=API_VERSION,
            settings_type=MicrosoftSignInSettings,
            profile=sign_in_profile,
            secret_settings=frozenset({"client_secret"}),
        )
    ]
