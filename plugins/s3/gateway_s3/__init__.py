"""
A storage plugin: blobs as objects in a bucket of any S3-compatible store.
"""

from gateway.api import API_VERSION, BackendKind, hookimpl
from gateway_s3.backend import connect
from gateway_s3.settings import S3Settings

_OF_A_USER = frozenset(
    {
        "endpoint",
        "region",
        "bucket",
        "prefix",
        "access_key_id",
        "secret_access_key",
        "path_style",
    }
)


@hookimpl
def gateway_register_backends() -> list[BackendKind[S3Settings]]:
    """
    Return the one kind that there is here.
    """
    return [
        BackendKind(
            name="s3",
            title="S3",
            api_version=API_VERSION,
            settings_type=S3Settings,
            connect=connect,
            user_settings=_OF_A_USER,
            secret_settings=frozenset({"secret_access_key"}),
        )
    ]
