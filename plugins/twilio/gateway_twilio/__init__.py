"""
A way of signing in: a code that Twilio Verify sends to a phone, or tells by a call.
"""

from gateway.api import API_VERSION, IdentityKind, hookimpl
from gateway_twilio.codes import connect
from gateway_twilio.settings import TwilioSettings


@hookimpl
def gateway_register_identities() -> list[IdentityKind[TwilioSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        IdentityKind(
            name="twilio",
            space="phone",
            title="Phone number",
            recipient="Twilio",
            api_version=API_VERSION,
            settings_type=TwilioSettings,
            connect=connect,
            secret_settings=frozenset({"auth_token", "api_key_secret"}),
        )
    ]
