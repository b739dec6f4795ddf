"""
A storage plugin: blobs as files in a folder of the user's own Google Drive.
"""

from gateway.api import API_VERSION, BackendKind, IdentityKind, hookimpl
from gateway_gdrive.backend import connect
from gateway_gdrive.identity import GoogleSignInSettings, sign_in_profile
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


@hookimpl
def gateway_register_identities() -> list[IdentityKind[GoogleSignInSettings]]:
    """
    Return the way of signing in with the same provider's accounts.
    """
    return [
        IdentityKind(
            name="google",
            space="google",
            title="Google",
            api_version=API_VERSION,
            settings_type=GoogleSignInSettings,
            profile=sign_in_profile,
            secret_settings=frozenset({"client_secret"}),
        )
    ]
