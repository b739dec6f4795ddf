"""
The kinds of storage that users may link here: those that the operator named, with his settings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from gateway.api import BackendKind, Misconfigured, OAuthProfile
from gateway.backends.loader import PluginSet, checked_settings, setting_names
from gateway.base.errors import ConfigurationError
from gateway.services.errors import InvalidField

log = structlog.get_logger()

_ANY_TEXT: Final = {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKind:
    """
    One kind that can be linked: by OAuth if it has a *profile*, else by settings that the user gives.
    """

    backend: BackendKind[Any]
    operator: Mapping[str, Any] = field(repr=False)
    profile: OAuthProfile | None

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def title(self) -> str:
        return self.backend.title or self.backend.name

    @property
    def user_settings(self) -> list[str]:
        """
        The names of what the user says himself, in the order of the kind's settings.
        """
        if self.profile is not None:
            return []
        return [
            name
            for name in setting_names(self.backend)
            if name in self.backend.user_settings and name not in self.operator
        ]

    def settings_schema(self) -> dict[str, Any]:
        """
        Return a JSON Schema of what the user says himself; what is never shown again is `writeOnly`.
        """
        schema = msgspec.json.schema(self.backend.settings_type, schema_hook=lambda _: _ANY_TEXT)
        whole = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        secret = self.backend.secret_settings
        properties = {
            name: {**whole["properties"][name], **({"writeOnly": True} if name in secret else {})}
            for name in self.user_settings
        }
        required = [name for name in whole.get("required", ()) if name in properties]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def check_settings(self, given: Mapping[str, Any]) -> None:
        """
        Check what the user said, alone and beside what the operator did.

        Raises:
            InvalidField: names the setting that cannot be taken.
        """
        schema = self.settings_schema()
        for name in given:
            if name not in schema["properties"]:
                raise InvalidField(name, f"is no setting of {self.title} that can be given here")
        for name in schema["required"]:
            if name not in given:
                raise InvalidField(name, "is missing")
        try:
            checked_settings(self.backend, self.name, {**self.operator, **given})
        except ConfigurationError as error:
            reason, _, path = str(error.__cause__).partition(" - at `$")
            raise InvalidField(path.strip(".`") or "settings", reason) from None

    def shown_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return those of the user's settings that may be shown again.
        """
        return {name: value for name, value in given.items() if name not in self.backend.secret_settings}


class LinkKinds:
    """
    All of them, by name.
    """

    def __init__(self, plugins: PluginSet, operator: Mapping[str, Mapping[str, Any]]) -> None:
        """
        Check the operator's settings; a kind that no loaded plugin brings is left out, loudly.

        Raises:
            ConfigurationError: settings do not fit their kind, or it is none that users can link.
        """
        self._kinds: dict[str, LinkKind] = {}
        for name, settings in operator.items():
            kind = plugins.kinds.get(name)
            if kind is None:
                log.error("links.kind_left_out", kind=name, faults=[str(fault) for fault in plugins.faults])
            else:
                self._kinds[name] = _linkable(kind, settings)

    def __iter__(self) -> Iterator[LinkKind]:
        return iter(self._kinds.values())

    def get(self, name: str) -> LinkKind | None:
        """
        Return the kind of this name, None if there is none here.
        """
        return self._kinds.get(name)

    def require(self, name: str) -> LinkKind:
        """
        Return the kind of a link.

        Raises:
            Misconfigured: it was there once, and is not any more.
        """
        kind = self._kinds.get(name)
        if kind is None:
            raise Misconfigured(f"This gateway does not offer {name} at the moment.")
        return kind


def _linkable(kind: BackendKind[Any], settings: Mapping[str, Any]) -> LinkKind:
    where = f"links.kinds.{kind.name}"
    if kind.oauth is not None:
        checked = checked_settings(kind, where, settings)
        try:
            profile = kind.oauth(checked)
        except Exception as exc:
            raise ConfigurationError(f"{where}: {exc}") from exc
        return LinkKind(backend=kind, operator=dict(settings), profile=profile)
    if not kind.user_settings:
        raise ConfigurationError(f"{where}: users cannot link a storage of this kind.")
    known = setting_names(kind)
    for name in settings:
        if name not in known:
            raise ConfigurationError(
                f"{where}: the backend {kind.name!r} has no setting {name!r}; it has: {', '.join(known)}."
            )
    return LinkKind(backend=kind, operator=dict(settings), profile=None)
