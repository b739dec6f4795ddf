"""
The ways of signing in here: those that the operator named, with his settings.
"""

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

import structlog

from gateway.api import CodeProvider, IdentityContext, IdentityError, IdentityKind, OpenIdProfile
from gateway.backends.loader import PluginSet, checked_settings
from gateway.base.errors import ConfigurationError
from gateway.services.disclosures import Recipient
from gateway.services.errors import NotFound

log = structlog.get_logger()

PHONE: Final = "phone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """
    One way of proving who one is: by a code, or at an OpenID provider.
    """

    kind: IdentityKind[Any]
    codes: CodeProvider | None = None
    profile: OpenIdProfile | None = None

    @property
    def space(self) -> str:
        return self.kind.space

    @property
    def title(self) -> str:
        return self.kind.title


class Ways:
    """
    All of them, by their spaces, in the operator's order.
    """

    def __init__(self, ways: Mapping[str, Way]) -> None:
        self._ways = dict(ways)

    @classmethod
    async def open(
        cls,
        plugins: PluginSet,
        operator: Mapping[str, Mapping[str, Any]],
        context: IdentityContext,
        stack: AsyncExitStack,
    ) -> Self:
        """
        Check the operator's settings and connect what has to be connected, for as long as *stack* is entered.

        A kind that no loaded plugin brings is left out, loudly: who has a token can go on.

        Raises:
            ConfigurationError: settings do not fit their kind, or two kinds are of one space.
        """
        ways: dict[str, Way] = {}
        for name, settings in operator.items():
            kind = plugins.identities.get(name)
            if kind is None:
                log.error("sign_in.kind_left_out", kind=name, faults=[str(fault) for fault in plugins.faults])
                continue
            if kind.space in ways:
                other = ways[kind.space].kind.name
                raise ConfigurationError(
                    f"setting sign_in.kinds: {name!r} and {other!r} are both for {kind.space!r}; keep one of them"
                )
            checked = checked_settings(kind, f"sign_in.kinds.{name}", settings)
            try:
                if kind.connect is not None:
                    codes = await stack.enter_async_context(kind.connect(context, checked))
                    ways[kind.space] = Way(kind=kind, codes=codes)
                elif kind.profile is not None:
                    ways[kind.space] = Way(kind=kind, profile=kind.profile(checked))
            except IdentityError as error:
                raise ConfigurationError(f"setting sign_in.kinds.{name}: {error}") from error
        return cls(ways)

    def recipients(self) -> dict[str, Recipient]:
        """
        Return who, outside of the operator's organisation, learns of it when somebody signs in, by the spaces.
        """
        found = {}
        for way in self:
            name = way.kind.recipient or (None if way.profile is None else way.title)
            if name is not None:
                found[way.space] = Recipient(name, "sign-in" if way.codes is None else "code")
        return found

    def titles(self) -> dict[str, str]:
        """
        Return what people call the ways, by their spaces.
        """
        return {way.space: way.title for way in self}

    def __iter__(self) -> Iterator[Way]:
        return iter(self._ways.values())

    def codes(self, space: str) -> CodeProvider:
        """
        Return what sends codes to subjects of *space*.

        Raises:
            NotFound: there is none here.
        """
        way = self._ways.get(space)
        if way is None or way.codes is None:
            raise NotFound("there is no such way of signing in by a code here")
        return way.codes

    def profile(self, space: str) -> OpenIdProfile:
        """
        Return the facts about the provider of *space*.

        Raises:
            NotFound: there is none here.
        """
        way = self._ways.get(space)
        if way is None or way.profile is None:
            raise NotFound("there is no such provider to sign in with here")
        return way.profile
