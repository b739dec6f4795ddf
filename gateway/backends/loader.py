"""
Finds plugins, checks what they bring, and connects to the backends that they register.

Loading is an explicit call from the composition root, never an effect of importing.
A plugin that is broken in any way becomes a `PluginFault` that names its distribution.
The others load as if it were not there; who needs its backends decides whether the gateway can do without.
A plugin is taken whole or not at all.
"""

import dataclasses
import inspect
import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec
import pluggy

from gateway.api import (
    ENTRY_POINT_GROUP,
    IDENTITY_ENTRY_POINT_GROUP,
    PROJECT,
    SUPPORTED_API_VERSIONS,
    Backend,
    BackendContext,
    BackendError,
    BackendKind,
    IdentityKind,
    hookspecs,
    translated,
)
from gateway.backends.pins import distribution_sha256
from gateway.base.errors import ConfigurationError

KindT = TypeVar("KindT", BackendKind[Any], IdentityKind[Any])

OUR_DISTRIBUTION: Final = "recording-gateway"

_KIND_NAME: Final = re.compile(r"(?=.{1,32}\Z)[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)


class UnknownBackend(ConfigurationError):
    """
    Settings name a backend that no loaded plugin brings.
    """

    code = "unknown-backend"


@dataclasses.dataclass(frozen=True, slots=True)
class PluginFault:
    """
    A plugin that was left out, and why.
    """

    plugin: str
    """The name of its entry point."""

    distribution: str
    version: str
    reason: str
    cause: BaseException | None = None

    def __str__(self) -> str:
        owner = f"{self.distribution} {self.version}".strip()
        return f"Plugin {self.plugin!r} of {owner} was left out: {self.reason}"


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """
    The plugin that brought a backend kind, and the distribution that it came with.
    """

    plugin: str
    """The name of its entry point."""

    distribution: str
    version: str


@dataclasses.dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """
    A plugin that is installed, whether it is loaded or not.
    """

    plugin: str
    """The name of its entry point."""

    distribution: str
    version: str
    sha256: str | None
    """Of its installed files, to pin it by: see `gateway.backends.pins`; None where they cannot be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class PluginSet:
    """
    What was found at start: the kinds of backends and of identities by name, and the plugins that were left out.
    """

    kinds: Mapping[str, BackendKind[Any]]
    faults: tuple[PluginFault, ...]
    origins: Mapping[str, Origin] = dataclasses.field(default_factory=dict)
    """Where each kind came from."""

    identities: Mapping[str, IdentityKind[Any]] = dataclasses.field(default_factory=dict)
    """The ways of signing in, by name."""

    identity_origins: Mapping[str, Origin] = dataclasses.field(default_factory=dict)

    def connect(
        self, kind: str, context: BackendContext, settings: Mapping[str, object]
    ) -> AbstractAsyncContextManager[Backend]:
        """
        Return the connection to a backend of *kind*, having checked *settings*.

        Entering it raises `BackendError` if connecting fails, whatever the plugin itself raised.

        Raises:
            UnknownBackend: there is no such kind; the message also says which plugins were left out.
            ConfigurationError: the settings do not fit the kind; the message names the key.
        """
        found = self.kinds.get(kind)
        if found is None:
            known = ", ".join(sorted(self.kinds)) or "none"
            message = f"{context.account}: no plugin brings the backend {kind!r}; there are: {known}."
            raise UnknownBackend(" ".join([message, *map(str, self.faults)]))
        return _connected(found, context, checked_settings(found, context.account, settings))


def load_plugins(
    *,
    wanted: Collection[str] | None = None,
    wanted_identities: Collection[str] = (),
    enabled: Collection[str] | None = None,
    disabled: Collection[str] = (),
    pinned: Mapping[str, str] | None = None,
) -> PluginSet:
    """
    Load the plugins of all installed distributions: our own first, then in the order of their names.

    *wanted* are names of backend kinds, if not all kinds are, and *wanted_identities* of identity kinds. Importing a
    provider's library costs much time and memory, so plugins that are called like such a kind, or whose distribution
    names it in the group `IDENTITY_ENTRY_POINT_GROUP`, come first then, and others only while one is missing still.

    *enabled* and *disabled* are names of entry points.
    What is disabled, or not among *enabled* if that is given, is not even imported;
    nor is what has another SHA-256 than *pinned* has for its entry point.
    """
    pinned = pinned or {}
    offers, faults = _offers()
    kinds: dict[str, BackendKind[Any]] = {}
    owners: dict[str, str] = {}
    origins: dict[str, Origin] = {}
    identities: dict[str, IdentityKind[Any]] = {}
    identity_origins: dict[str, Origin] = {}
    if wanted is not None:
        named = {*wanted, *wanted_identities}
        offers = sorted(
            offers,
            key=lambda offer: offer.plugin not in named and offer.identities.isdisjoint(wanted_identities),
        )
    for offer in offers:
        if wanted is not None and kinds.keys() >= set(wanted) and identities.keys() >= set(wanted_identities):
            break
        if offer.plugin in disabled or (enabled is not None and offer.plugin not in enabled):
            continue
        try:
            _check_pin(offer, pinned.get(offer.plugin))
            owner = owners.setdefault(offer.plugin, offer.distribution)
            if owner != offer.distribution:
                raise _Unfit(f"{owner} has a plugin of the same name.")
            answers = _brought(_imported(offer), offer.plugin)
            brought = _checked_kinds(answers.backends, BackendKind, "a backend", taken=kinds)
            people = _checked_kinds(answers.identities, IdentityKind, "an identity", taken=identities)
            kinds.update(brought)
            identities.update(people)
            origin = Origin(offer.plugin, offer.distribution, offer.version)
            origins.update(dict.fromkeys(brought, origin))
            identity_origins.update(dict.fromkeys(people, origin))
        except _Unfit as exc:
            faults.append(offer.fault(exc))
    for missing in sorted(set(enabled or ()) - {offer.plugin for offer in offers}):
        faults.append(PluginFault(missing, "no distribution", "", "it is enabled, but not installed."))
    for missing in sorted(set(pinned) - set(disabled) - {offer.plugin for offer in offers}):
        faults.append(PluginFault(missing, "no distribution", "", "it is pinned, but not installed."))
    return PluginSet(
        MappingProxyType(kinds),
        tuple(faults),
        MappingProxyType(origins),
        MappingProxyType(identities),
        MappingProxyType(identity_origins),
    )


def installed_plugins() -> list[InstalledPlugin]:
    """
    Return every plugin that is installed, in the order in which they load; none is imported.
    """
    offers, _ = _offers()
    found = []
    for offer in offers:
        sha256: str | None = None
        with suppress(OSError):
            sha256 = offer.sha256()
        found.append(InstalledPlugin(offer.plugin, offer.distribution, offer.version, sha256))
    return found


def setting_names(kind: BackendKind[Any] | IdentityKind[Any]) -> list[str]:
    """
    Return the names of the kind's settings.
    """
    return _field_names(kind.settings_type)


def checked_settings(
    kind: BackendKind[Any] | IdentityKind[Any], account: str, settings: Mapping[str, object]
) -> Any:
    """
    Return *settings* as the kind's own type.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value does not fit.
    """
    what = "backend" if isinstance(kind, BackendKind) else "identity"
    known = _field_names(kind.settings_type)
    for key in settings:
        # msgspec passes over keys that it does not know; an operator's slip of the pen should not be.
        if key not in known:
            raise ConfigurationError(
                f"{account}: the {what} {kind.name!r} has no setting {key!r}; it has: {', '.join(known)}."
            )
    try:
        return msgspec.convert(dict(settings), kind.settings_type, dec_hook=_from_text)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"{account}: settings of the {what} {kind.name!r}: {exc}.") from exc


class _Unfit(Exception):
    """
    Ends the loading of one plugin; the message is the reason that its fault gives.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class _Offer:
    """
    An entry point in our group, and whose it is.
    """

    distribution: str
    version: str
    entry_point: metadata.EntryPoint
    installed: metadata.Distribution
    identities: frozenset[str] = frozenset()
    """The identity kinds that its distribution says it brings; what it does bring is seen once it is imported."""

    @property
    def plugin(self) -> str:
        return self.entry_point.name

    def sha256(self) -> str:
        return distribution_sha256(self.installed, self.entry_point)

    def fault(self, exc: _Unfit) -> PluginFault:
        return PluginFault(self.plugin, self.distribution, self.version, str(exc), exc.__cause__)


def _offers() -> tuple[list[_Offer], list[PluginFault]]:
    """
    Return what the installed distributions offer, and those whose offer cannot be read.
    """
    offers: dict[tuple[str, str], _Offer] = {}
    faults = []
    for distribution in metadata.distributions():
        if ENTRY_POINT_GROUP not in (distribution.read_text("entry_points.txt") or ""):
            continue
        name, version = _name_of(distribution)
        try:
            told = distribution.entry_points.select(group=IDENTITY_ENTRY_POINT_GROUP)
            for entry_point in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
                identities = frozenset(one.name for one in told if one.value == entry_point.value)
                # Of two installations of one distribution, the first on the path gets imported.
                offers.setdefault(
                    (name, entry_point.name), _Offer(name, version, entry_point, distribution, identities)
                )
        except Exception as exc:  # noqa: BLE001 -- whatever is wrong with it is its fault alone
            faults.append(
                PluginFault("?", name, version, f"its entry points are unreadable ({_told(exc)}).", exc)
            )
    return [offers[key] for key in sorted(offers, key=lambda key: (key[0] != OUR_DISTRIBUTION, key))], faults


def _name_of(distribution: metadata.Distribution) -> tuple[str, str]:
    try:
        told = distribution.metadata
    except Exception:  # noqa: BLE001 -- a damaged installation need not even have metadata
        return "unnamed", "?"
    name = re.sub(r"[-_.]+", "-", told["Name"] or "unnamed").lower()
    return name, told["Version"] or "?"


def _check_pin(offer: _Offer, pin: str | None) -> None:
    if pin is None:
        return
    try:
        found = offer.sha256()
    except OSError as exc:
        raise _Unfit(f"it is pinned, but its files cannot be read ({_told(exc)}).") from exc
    if found != pin.strip().lower():
        raise _Unfit(f"it is pinned to SHA-256 {pin}, but what is installed has {found}.")


def _imported(offer: _Offer) -> object:
    try:
        plugin: object = offer.entry_point.load()
    # SystemExit as well: a plugin that wants to end the process is left out like any other.
    except (Exception, SystemExit) as exc:
        raise _Unfit(f"importing it failed ({_told(exc)}).") from exc
    return plugin


@dataclasses.dataclass(frozen=True, slots=True)
class _Brought:
    """
    What a plugin registered, not looked at yet.
    """

    backends: list[object]
    identities: list[object]


def _brought(plugin: object, name: str) -> _Brought:
    """
    Return what *plugin* registers, having checked that it implements our hooks, and no other.
    """
    # A manager for each plugin, so that whatever one does wrong cannot be laid at another's door.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name)
        manager.check_pending()
        implemented = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
        if not implemented:
            raise _Unfit("it implements no hook; is the mark @hookimpl missing?")
        return _Brought(
            backends=_answers(
                "gateway_register_backends", manager.hook.gateway_register_backends, implemented
            ),
            identities=_answers(
                "gateway_register_identities", manager.hook.gateway_register_identities, implemented
            ),
        )
    except _Unfit:
        raise
    except (Exception, SystemExit) as exc:
        raise _Unfit(f"registering it failed ({_told(exc)}).") from exc


def _answers(name: str, hook: pluggy.HookCaller, implemented: Collection[str]) -> list[object]:
    if name not in implemented:
        return []
    answers = hook()
    if not answers:
        raise _Unfit(f"{name} returned nothing.")
    brought: list[object] = []
    for answer in answers:
        if inspect.iscoroutine(answer):
            answer.close()
            raise _Unfit(f"{name} is a coroutine function; hooks are synchronous.")
        brought.extend(answer)
    return brought


def _checked_kinds(
    brought: Iterable[object], wanted: type[KindT], what: str, *, taken: Mapping[str, KindT]
) -> dict[str, KindT]:
    """
    Return what a plugin brought by name, having looked at it; *what* is one of them in a sentence.
    """
    noun = what.partition(" ")[2]
    kinds: dict[str, KindT] = {}
    for kind in brought:
        if not isinstance(kind, wanted):
            raise _Unfit(f"it registers a {type(kind).__name__} where a {wanted.__name__} is wanted.")
        if _KIND_NAME.fullmatch(str(kind.name)) is None:
            raise _Unfit(
                f"{kind.name!r} is no name for {what}: lower-case words, at most 32 characters in all."
            )
        if kind.name in taken or kind.name in kinds:
            raise _Unfit(f"there is {what} {kind.name!r} already.")
        if kind.api_version not in SUPPORTED_API_VERSIONS:
            raise _Unfit(
                f"its {noun} {kind.name!r} is made for version {kind.api_version} of the plugin contract; "
                f"this gateway serves {SUPPORTED_API_VERSIONS[0]} to {SUPPORTED_API_VERSIONS[-1]}."
            )
        if not _is_frozen_record(kind.settings_type):
            raise _Unfit(
                f"the settings of its {noun} {kind.name!r} are no frozen dataclass or frozen msgspec Struct."
            )
        kinds[kind.name] = kind
    return kinds


def _is_frozen_record(settings_type: Any) -> bool:
    if not isinstance(settings_type, type):
        return False
    if issubclass(settings_type, msgspec.Struct):
        return settings_type.__struct_config__.frozen
    return dataclasses.is_dataclass(settings_type) and bool(
        vars(settings_type)["__dataclass_params__"].frozen
    )


def _field_names(settings_type: type[Any]) -> list[str]:
    if issubclass(settings_type, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(settings_type)]
    return [field.name for field in dataclasses.fields(settings_type)]


def _from_text(wanted: type[Any], given: object) -> object:
    if wanted is Path and isinstance(given, str | Path):
        return Path(given)
    raise ValueError(f"expected {wanted.__name__}, got {type(given).__name__}")


@asynccontextmanager
async def _connected(
    kind: BackendKind[Any], context: BackendContext, settings: object
) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        with translated(
            lambda exc: BackendError(
                f"{context.account}: connecting to the backend {kind.name!r} failed ({_told(exc)})."
            )
        ):
            backend = await stack.enter_async_context(kind.connect(context, settings))
        yield backend


def _told(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"
