"""
A storage plugin: blobs as files in the app folder of a Dropbox account that its user linked.
"""

from gateway.api import API_VERSION, BackendKind, IdentityKind, hookimpl
from gateway_dropbox.backend import connect
from gateway_dropbox.identity import DropboxSignInSettings, sign_in_profile
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


@hookimpl
def gateway_register_identities() -> list[IdentityKind[DropboxSignInSettings]]:
    """
    Return the way of signing in with the same provider's accounts.
    """
    return [
        IdentityKind(
            name="dropbox",
            space="dropbox",
            title="Dropbox",
            api_version=API_VERSION,
            settings_type=DropboxSignInSettings,
            profile=sign_in_profile,
            secret_settings=frozenset({"client_secret"}),
        )
    ]
