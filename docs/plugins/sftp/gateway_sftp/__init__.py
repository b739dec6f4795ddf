"""
A storage plugin: blobs as files on a server that is reached by SSH.
"""

from gateway.api import API_VERSION, BackendKind, hookimpl
from gateway_sftp.backend import connect
from gateway_sftp.settings import SftpSettings


@hookimpl
def gateway_register_backends() -> list[BackendKind[SftpSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        BackendKind(
            name="sftp",
            title="SFTP",
            api_version=API_VERSION,
            settings_type=SftpSettings,
            connect=connect,
            secret_settings=frozenset({"password"}),
        )
    ]
