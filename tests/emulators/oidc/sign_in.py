"""
What all pretend OpenID providers have: the server, its people, the programs that are registered there.
"""

from aiohttp import web

from tests.emulators.cloud import Account, Cloud
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET, Client
from tests.emulators.oidc.server import FORGED_KEYS, OpenIdServer


class SignIn(Cloud):
    """
    An OpenID provider on a loopback port.

    The operations, for faults, are ``discovery``, ``keys``, ``consent``, ``token``, ``identity`` (that is userinfo),
    and ``forged-keys``, which nobody should ask for.

    Attributes:
        oauth: the sign-in itself: what is wrong with tokens is ordered there.
    """

    oauth: OpenIdServer

    # For tests

    @property
    def issuer(self) -> str:
        """
        What a client is told to find everything else by.
        """
        return self.oauth.issuer_of(None)

    def register(self, *redirect_uris: str, client_id: str = CLIENT_ID, secret: str = CLIENT_SECRET) -> None:
        """
        Register a program, or tell anew where browsers may be sent back to.
        """
        self.oauth.clients[client_id] = Client(secret, frozenset(redirect_uris))

    def approve(self, authorize_url: str, account: Account) -> str:
        """
        Press the button of the sign-in page as *account*; return where that leads back to.
        """
        return self.oauth.approve(authorize_url, account)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.oauth.keys.give_back()

    # How it fails

    def throttled(self, retry_after_s: int) -> web.Response:
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
        return web.json_response({"error": "temporarily_unavailable"}, status=429, headers=headers)

    def failed(self) -> web.Response:
        return web.Response(status=503, text="Service Unavailable")

    def token_expired(self) -> web.Response:
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return web.json_response({"error": "invalid_token"}, status=401, headers=headers)

    # For providers

    def add_endpoints(self, app: web.Application, paths: dict[str, str]) -> None:
        """
        Add what every provider has, at its paths by operation.
        """
        router = app.router
        router.add_get(paths["discovery"], self.served("discovery", self.oauth.discovery))
        router.add_get(paths["keys"], self.served("keys", self.oauth.jwks))
        router.add_route("*", paths["consent"], self.served("consent", self.oauth.authorize))
        router.add_post(paths["token"], self.served("token", self.oauth.token))
        router.add_get(FORGED_KEYS, self.served("forged-keys", self.oauth.forged_jwks))
