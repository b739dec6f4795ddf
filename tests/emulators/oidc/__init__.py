"""
Pretend OpenID providers: Google, Microsoft and Dropbox, as programs sign people in with them.
"""

from tests.emulators.oidc.dropbox import DropboxSignIn
from tests.emulators.oidc.forgeries import Forgery
from tests.emulators.oidc.google import GoogleSignIn
from tests.emulators.oidc.microsoft import PERSONAL_TENANT, MicrosoftSignIn
from tests.emulators.oidc.sign_in import SignIn

__all__ = ["PERSONAL_TENANT", "DropboxSignIn", "Forgery", "GoogleSignIn", "MicrosoftSignIn", "SignIn"]
