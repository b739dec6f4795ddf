"""
Loading plugins out of real distributions, whole and broken ones.
"""

import hashlib
import itertools
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gateway.api import BackendContext, BackendError, BackendKind, BlobKey, Misconfigured
from gateway.backends.loader import (
    OUR_DISTRIBUTION,
    Origin,
    PluginFault,
    PluginSet,
    UnknownBackend,
    installed_plugins,
    load_plugins,
)
from gateway.backends.local.settings import LocalSettings
from gateway.base.errors import ConfigurationError
from gateway.testing.sources import BytesSource
from tests.backends.distributions import install

CONTEXT = BackendContext(account="home")

TAPE = """
    from contextlib import asynccontextmanager
    from dataclasses import dataclass
    from types import SimpleNamespace

    from gateway.api import API_VERSION, BackendKind, hookimpl

    @dataclass(frozen=True)
    class Settings:
        drive: str
        speed: int = 1

    @asynccontextmanager
    async def connect(context, settings):
        yield SimpleNamespace(context=context, settings=settings)

    @hookimpl
    def gateway_register_backends():
        return [BackendKind(name="NAME", api_version=API_VERSION, settings_type=Settings, connect=connect)]
"""

Installed = Callable[..., None]
_numbers = itertools.count(1)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A folder of installed distributions, and nothing else installed that has a plugin for us.
    """
    site = tmp_path / "site"
    site.mkdir()
    distributions = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: distributions(path=[str(site)]))
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture
def tape(site: Path) -> Installed:
    """
    Installs the distribution gateway-tape, with its source changed in one place.
    """

    def installed(
        old: str = "",
        new: str = "",
        *,
        kind: str = "tape",
        distribution: str = "gateway-tape",
        plugin: str = "tape",
        version: str = "1.2.3",
    ) -> None:
        # A name of its own for each module: Python keeps what it has imported.
        module = f"tape_plugin_{next(_numbers)}"
        assert old in TAPE
        source = (TAPE.replace(old, new) if old else TAPE).replace("NAME", kind)
        install(site, distribution, {module: source}, plugins={plugin: module}, version=version)

    return installed


@pytest.fixture
def ours(site: Path) -> None:
    """
    Our own distribution, installed in the folder.
    """
    install(site, OUR_DISTRIBUTION, {}, plugins={"local": "gateway.backends.local"})


def only_fault(plugins: PluginSet) -> PluginFault:
    (fault,) = plugins.faults
    return fault


# What is whole


def test_our_own_local_backend_is_found_by_its_entry_point() -> None:
    """
    In what is really installed here, not in a folder made for the test.
    """
    plugins = load_plugins()
    assert "local" in plugins.kinds
    assert LocalSettings is plugins.kinds["local"].settings_type
    assert "local" not in {fault.plugin for fault in plugins.faults}
    assert OUR_DISTRIBUTION in {
        entry_point.dist.name
        for entry_point in metadata.entry_points(group="gateway.plugins")
        if entry_point.dist
    }


def test_a_plugin_of_another_distribution_is_found(tape: Installed) -> None:
    tape()
    plugins = load_plugins()
    assert ["tape"] == list(plugins.kinds)
    assert isinstance(plugins.kinds["tape"], BackendKind)
    assert Origin("tape", "gateway-tape", "1.2.3") == plugins.origins["tape"]
    assert () == plugins.faults


def test_nothing_installed_is_nothing_found(site: Path) -> None:
    assert site.is_dir()
    assert PluginSet({}, ()) == load_plugins()


def test_a_plugin_with_settings_as_a_frozen_struct_is_found(tape: Installed) -> None:
    tape(
        "@dataclass(frozen=True)\n    class Settings:",
        "import msgspec\n\n    class Settings(msgspec.Struct, frozen=True):",
    )
    assert ["tape"] == list(load_plugins().kinds)


# What is switched off


@pytest.mark.parametrize("choice", [{"disabled": {"tape"}}, {"enabled": {"disk"}}, {"enabled": set()}])
def test_a_plugin_that_is_switched_off_is_not_even_imported(
    site: Path, tape: Installed, tmp_path: Path, choice: dict[str, set[str]]
) -> None:
    install(site, "gateway-disk", {}, plugins={})
    tape("from contextlib", f"open({str(tmp_path / 'imported')!r}, 'w').close()\n    from contextlib")
    plugins = load_plugins(**choice)
    assert {} == dict(plugins.kinds)
    assert "tape" not in {fault.plugin for fault in plugins.faults}
    assert not (tmp_path / "imported").exists()


def test_a_plugin_that_is_both_enabled_and_disabled_is_off(tape: Installed) -> None:
    tape()
    assert {} == dict(load_plugins(enabled={"tape"}, disabled={"tape"}).kinds)


def test_a_plugin_that_is_enabled_but_not_installed_is_a_fault(tape: Installed) -> None:
    tape()
    plugins = load_plugins(enabled={"tape", "tpae"})
    assert ["tape"] == list(plugins.kinds)
    assert "tpae" == only_fault(plugins).plugin


# What is wanted


@pytest.fixture
def not_to_be_imported(tape: Installed) -> None:
    tape("@asynccontextmanager", "raise RuntimeError('imported')", kind="reel", plugin="reel")


@pytest.mark.usefixtures("not_to_be_imported")
def test_a_plugin_that_is_called_like_what_is_wanted_is_the_only_one_imported(tape: Installed) -> None:
    tape(distribution="gateway-zebra")
    plugins = load_plugins(wanted={"tape"})
    assert ["tape"] == list(plugins.kinds)
    assert () == plugins.faults


@pytest.mark.usefixtures("not_to_be_imported")
def test_where_nothing_is_wanted_nothing_is_imported() -> None:
    assert PluginSet({}, ()) == load_plugins(wanted=())


def test_a_kind_is_found_in_a_plugin_of_another_name(tape: Installed) -> None:
    tape(plugin="recorder")
    assert "tape" in load_plugins(wanted={"tape"}).kinds


@pytest.mark.usefixtures("not_to_be_imported")
def test_where_what_is_wanted_is_not_there_everything_was_tried(tape: Installed) -> None:
    tape(kind="cassette", distribution="gateway-zebra", plugin="cassette")
    plugins = load_plugins(wanted={"tape"})
    assert ["cassette"] == list(plugins.kinds)
    assert "reel" == only_fault(plugins).plugin


@pytest.mark.usefixtures("ours")
def test_nobody_takes_the_name_of_our_own_by_the_name_of_a_plugin(tape: Installed) -> None:
    tape(kind="local", distribution="gateway-aaa", plugin="tape")
    plugins = load_plugins(wanted={"local", "tape"})
    assert OUR_DISTRIBUTION == plugins.origins["local"].distribution


PERSON = """
    from dataclasses import dataclass

    from gateway.api import API_VERSION, IdentityKind, hookimpl

    @dataclass(frozen=True)
    class Settings:
        client_id: str = ""

    @hookimpl
    def gateway_register_identities():
        return [
            IdentityKind(
                name="NAME", space="NAME", title="N", api_version=API_VERSION, settings_type=Settings, profile=print
            )
        ]
"""


def install_person(site: Path, kind: str, *, distribution: str, plugin: str, is_told: bool) -> None:
    module = f"person_plugin_{next(_numbers)}"
    install(
        site,
        distribution,
        {module: PERSON.replace("NAME", kind)},
        plugins={plugin: module},
        identities={kind: module} if is_told else None,
    )


@pytest.mark.usefixtures("not_to_be_imported")
def test_of_identities_only_the_plugin_that_is_told_to_bring_it_is_imported(site: Path) -> None:
    install_person(site, "ring", distribution="gateway-zebra", plugin="zebra", is_told=True)
    plugins = load_plugins(wanted=(), wanted_identities={"ring"})
    assert (["ring"], ()) == (list(plugins.identities), plugins.faults)


def test_an_identity_that_is_not_told_of_is_found_all_the_same(site: Path, tape: Installed) -> None:
    tape()
    install_person(site, "ring", distribution="gateway-zebra", plugin="zebra", is_told=False)
    assert ["ring"] == list(load_plugins(wanted=(), wanted_identities={"ring"}).identities)


def test_a_plugin_that_is_told_to_bring_an_identity_and_does_not_is_passed_by(site: Path) -> None:
    install_person(site, "ring", distribution="gateway-zebra", plugin="zebra", is_told=False)
    module = f"person_plugin_{next(_numbers)}"
    install(
        site,
        "a-first-one",
        {module: PERSON.replace("NAME", "other")},
        plugins={"first": module},
        identities={"ring": module},
    )
    plugins = load_plugins(wanted=(), wanted_identities={"ring"})
    assert "gateway-zebra" == plugins.identity_origins["ring"].distribution


def test_a_backend_of_the_same_name_is_not_the_identity_that_is_wanted(site: Path, tape: Installed) -> None:
    tape(kind="ring", distribution="a-first-one", plugin="ring")
    install_person(site, "ring", distribution="gateway-zebra", plugin="zebra", is_told=False)
    assert ["ring"] == list(load_plugins(wanted=(), wanted_identities={"ring"}).identities)


def test_our_own_plugins_tell_the_identities_that_they_bring() -> None:
    """
    In what is really installed here: a gateway where people sign in by one of them imports no other's library.
    """
    told = {
        (one.name, one.dist.name, one.value)
        for one in metadata.entry_points(group="gateway.identities")
        if one.dist is not None
    }
    values = {
        (one.name, one.dist.name): one.value
        for one in metadata.entry_points(group="gateway.plugins")
        if one.dist is not None
    }
    brought = {
        (name, origin.distribution, values[origin.plugin, origin.distribution])
        for name, origin in load_plugins().identity_origins.items()
    }
    assert {"console", "twilio", "google", "microsoft", "dropbox"} <= {name for name, _, _ in told}
    assert told == brought


# What is pinned


@pytest.fixture
def pinned_tape(site: Path, tmp_path: Path) -> Path:
    """
    A package with a RECORD, which tells if it is imported; its folder.
    """
    name = f"tape_package_{next(_numbers)}"
    package = site / name
    package.mkdir()
    marked = TAPE.replace(
        "from contextlib", f"open({str(tmp_path / 'imported')!r}, 'w').close()\n    from contextlib", 1
    )
    (package / "__init__.py").write_text(textwrap.dedent(marked.replace("NAME", "tape")))
    (package / "client.py").write_text("SPEED = 1\n")
    install(site, "gateway-tape", {}, plugins={"tape": name})
    info = site / "gateway_tape-1.2.3.dist-info"
    listed = [f"{name}/__init__.py", f"{name}/client.py", f"{name}/__pycache__/client.pyc"]
    listed += [f"{info.name}/{note}" for note in ("METADATA", "entry_points.txt", "INSTALLER", "RECORD")]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed))
    return package


def only_sha256() -> str:
    (plugin,) = installed_plugins()
    assert plugin.sha256 is not None
    return plugin.sha256


def test_the_hash_is_that_of_what_sha256sum_prints(site: Path, pinned_tape: Path) -> None:
    files = [*(file for file in pinned_tape.iterdir()), *site.glob("*.dist-info/[Me]*")]
    names = sorted(str(file.relative_to(site)) for file in files)
    assert 4 == len(names)
    printed = subprocess.run(["sha256sum", *names], cwd=site, capture_output=True, check=True).stdout
    assert hashlib.sha256(printed).hexdigest() == only_sha256()


def test_a_plugin_that_is_as_it_was_pinned_loads(pinned_tape: Path) -> None:
    assert pinned_tape.is_dir()
    plugins = load_plugins(pinned={"tape": only_sha256().upper()})
    assert (["tape"], ()) == (list(plugins.kinds), plugins.faults)


CHANGES = {
    "one byte": lambda package: (package / "client.py").write_text("SPEED = 2\n"),
    "a file more": lambda package: (package / "extra.py").touch(),
    "a file less": lambda package: (package / "client.py").unlink(),
    "the version": lambda package: _rewrite(package.parent, "METADATA", "1.2.3", "1.2.4"),
    "another module": lambda package: _rewrite(package.parent, "entry_points.txt", package.name, "json"),
}


def _rewrite(site: Path, note: str, old: str, new: str) -> None:
    (file,) = site.glob(f"*.dist-info/{note}")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize("change", CHANGES)
def test_a_plugin_that_was_changed_is_left_out_and_not_imported(
    pinned_tape: Path, tmp_path: Path, change: str
) -> None:
    pin = only_sha256()
    CHANGES[change](pinned_tape)
    plugins = load_plugins(pinned={"tape": pin})
    assert {} == dict(plugins.kinds)
    assert "pinned" in only_fault(plugins).reason
    assert not (tmp_path / "imported").exists()


def test_the_fault_of_a_changed_plugin_says_both_hashes(pinned_tape: Path) -> None:
    pin = only_sha256()
    CHANGES["one byte"](pinned_tape)
    fault = only_fault(load_plugins(pinned={"tape": pin}))
    assert pin in fault.reason
    assert only_sha256() in fault.reason


def test_what_an_installer_and_python_note_does_not_count(site: Path, pinned_tape: Path) -> None:
    pin = only_sha256()
    (site / "gateway_tape-1.2.3.dist-info" / "INSTALLER").write_text("another")
    (pinned_tape / "__pycache__").mkdir()
    (pinned_tape / "__pycache__" / "client.pyc").write_bytes(b"compiled")
    assert ["tape"] == list(load_plugins(pinned={"tape": pin}).kinds)


def test_what_an_import_would_find_first_is_what_counts(
    pinned_tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = only_sha256()
    earlier = tmp_path / "earlier"
    shutil.copytree(pinned_tape, earlier / pinned_tape.name)
    (earlier / pinned_tape.name / "client.py").write_text("SPEED = 3\n")
    monkeypatch.syspath_prepend(earlier)
    assert "pinned" in only_fault(load_plugins(pinned={"tape": pin})).reason


def test_an_editable_installation_is_hashed_by_its_sources(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"tape_package_{next(_numbers)}"
    package = tmp_path / "sources" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(TAPE.replace("NAME", "tape")))
    monkeypatch.syspath_prepend(package.parent)
    install(site, "gateway-tape", {}, plugins={"tape": name})
    pin = only_sha256()
    assert ["tape"] == list(load_plugins(pinned={"tape": pin}).kinds)
    (package / "__init__.py").write_text("# changed")
    assert "pinned" in only_fault(load_plugins(pinned={"tape": pin})).reason


def test_an_impostor_does_not_keep_the_pinned_plugin_out(site: Path, pinned_tape: Path) -> None:
    assert pinned_tape.is_dir()
    pin = only_sha256()
    install(site, "a-first-one", {"impostor_plugin": "1 / 0"}, plugins={"tape": "impostor_plugin"})
    plugins = load_plugins(pinned={"tape": pin})
    assert ["tape"] == list(plugins.kinds)
    assert "a-first-one" == only_fault(plugins).distribution


def test_a_pin_for_what_is_not_installed_is_a_fault(tape: Installed) -> None:
    tape()
    plugins = load_plugins(pinned={"tpae": 64 * "0"})
    assert (["tape"], "tpae") == (list(plugins.kinds), only_fault(plugins).plugin)
    assert () == load_plugins(pinned={"tpae": 64 * "0"}, disabled={"tpae"}).faults


# What is broken


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("from contextlib", "import no_such_module\n    from contextlib", "no_such_module"),
        ("from contextlib", "raise SystemExit(3)\n    from contextlib", "SystemExit"),
        ("from contextlib", "syntax error\n    from contextlib", "SyntaxError"),
        ("api_version=API_VERSION", "api_version=API_VERSION + 1", "made for version 2"),
        ("api_version=API_VERSION", "api_version=0", "made for version 0"),
        ("def gateway_register_backends", "def gateway_register_backend", "unknown hook"),
        ("def gateway_register_backends()", "def gateway_register_backends(settings)", "settings"),
        ("    @hookimpl\n", "", "@hookimpl"),
        ("def gateway_register_backends", "async def gateway_register_backends", "coroutine"),
        ("return [", "1 / 0\n        return [", "ZeroDivisionError"),
        ("return [", "raise SystemExit(3)\n        return [", "SystemExit"),
        ("return [", "yield 1 / 0\n        return [", "ZeroDivisionError"),
        ("        return [", "        [", "returned nothing"),
        ("return [BackendKind(", "return [dict(", "registers a dict"),
        ("return [", "return 2 * [", "already"),
        ('name="NAME"', 'name="Tape"', "no name"),
        ('name="NAME"', 'name="tape drive"', "no name"),
        ('name="NAME"', 'name="-tape"', "no name"),
        ('name="NAME"', 'name="tape\\n"', "no name"),
        ('name="NAME"', f'name="{33 * "t"}"', "no name"),
        ('name="NAME"', "name=7", "no name"),
        ("@dataclass(frozen=True)", "@dataclass", "frozen"),
        ("@dataclass(frozen=True)", "# no dataclass", "frozen"),
        (
            "@dataclass(frozen=True)\n    class Settings:",
            "import msgspec\n    class Settings(msgspec.Struct):",
            "frozen",
        ),
        ("settings_type=Settings", "settings_type=Settings('a')", "frozen"),
    ],
)
def test_a_broken_plugin_is_named_and_the_others_load(
    tape: Installed, old: str, new: str, reason: str
) -> None:
    tape(old, new, version="0.9")
    tape(kind="reel", distribution="gateway-reel", plugin="reel")
    plugins = load_plugins()
    assert ["reel"] == list(plugins.kinds)
    fault = only_fault(plugins)
    assert ("tape", "gateway-tape", "0.9") == (fault.plugin, fault.distribution, fault.version)
    assert reason in fault.reason
    assert "gateway-tape 0.9" in str(fault)


def test_a_plugin_with_one_bad_kind_is_left_out_whole(tape: Installed) -> None:
    tape(
        "return [",
        "return [BackendKind(name='good', api_version=1, settings_type=Settings, connect=connect), 7, ",
    )
    plugins = load_plugins()
    assert {} == dict(plugins.kinds)
    assert "registers a int" in only_fault(plugins).reason


def test_a_module_that_is_not_there_is_a_fault(site: Path) -> None:
    install(site, "gateway-tape", {}, plugins={"tape": "no_such_module_at_all"})
    assert "no_such_module_at_all" in only_fault(load_plugins()).reason


@pytest.mark.parametrize("value", ["", "1 + 1", "tape plugin:"])
def test_an_entry_point_that_is_nonsense_is_a_fault(site: Path, value: str) -> None:
    install(site, "gateway-tape", {}, plugins={"tape": value})
    assert "gateway-tape" == only_fault(load_plugins()).distribution


def test_entry_points_that_cannot_be_read_are_a_fault(site: Path, tape: Installed) -> None:
    tape()
    install(site, "gateway-reel", {}, plugins={})
    info = site / "gateway_reel-1.2.3.dist-info"
    (info / "entry_points.txt").write_text("[gateway.plugins]\nno equals sign\n")
    plugins = load_plugins()
    assert ["tape"] == list(plugins.kinds)
    assert "gateway-reel" == only_fault(plugins).distribution


def test_a_plugin_of_a_distribution_without_metadata_still_loads(site: Path, tape: Installed) -> None:
    tape()
    (site / "gateway_tape-1.2.3.dist-info" / "METADATA").unlink()
    assert ["tape"] == list(load_plugins().kinds)


# Names


def test_nobody_can_take_a_name_that_our_own_distribution_has(tape: Installed) -> None:
    tape(kind="local", distribution="a-first-one", plugin="first")
    tape(kind="local", distribution="recording_gateway", plugin="local")
    plugins = load_plugins()
    assert ["local"] == list(plugins.kinds)
    assert "a-first-one" == only_fault(plugins).distribution
    assert "'local' already" in only_fault(plugins).reason


def test_of_two_plugins_of_one_name_the_first_by_distribution_is_taken(tape: Installed) -> None:
    tape(kind="b", distribution="tape-b")
    tape(kind="a", distribution="tape-a")
    plugins = load_plugins()
    assert ["a"] == list(plugins.kinds)
    assert "tape-b" == only_fault(plugins).distribution


def test_a_distribution_installed_twice_counts_once(tape: Installed) -> None:
    tape(version="1.0")
    tape(version="2.0")
    plugins = load_plugins()
    assert ["tape"] == list(plugins.kinds)
    assert () == plugins.faults


# Connecting


async def test_a_plugin_gets_its_context_and_its_settings(tape: Installed) -> None:
    tape()
    async with load_plugins().connect("tape", CONTEXT, {"drive": "left"}) as connected:
        given: Any = connected
    assert CONTEXT is given.context
    assert ("left", 1) == (given.settings.drive, given.settings.speed)


@pytest.mark.usefixtures("ours")
async def test_the_local_backend_connects_by_name(tmp_path: Path) -> None:
    plugins = load_plugins(enabled={"local"})
    async with plugins.connect(
        "local", CONTEXT, {"root": str(tmp_path / "blobs"), "max_concurrency": 2}
    ) as backend:
        await backend.put(BlobKey(64 * "0"), BytesSource(b"sealed"))
        assert 2 == backend.traits.max_concurrency
    async with plugins.connect("local", CONTEXT, {"root": tmp_path / "blobs", "create": False}) as backend:
        assert await backend.find(BlobKey(64 * "0")) is not None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "root"),
        ({"root": "relative/path"}, "root must be an absolute path"),
        ({"root": 3}, "$.root"),
        ({"root": "/disk", "max_concurrency": "many"}, "$.max_concurrency"),
        ({"root": "/disk", "max_concurrency": 0}, "max_concurrency must be from 1 to 64"),
        ({"root": "/disk", "creat": False}, "'creat'"),
    ],
)
@pytest.mark.usefixtures("ours")
def test_settings_that_do_not_fit_are_told_with_their_key(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_plugins(enabled={"local"}).connect("local", CONTEXT, settings)
    assert told in str(caught.value)
    assert "home" in str(caught.value)
    assert "'local'" in str(caught.value)


def test_an_unknown_setting_of_a_struct_is_told_too(tape: Installed) -> None:
    tape(
        "@dataclass(frozen=True)\n    class Settings:",
        "import msgspec\n\n    class Settings(msgspec.Struct, frozen=True):",
    )
    with pytest.raises(ConfigurationError, match="'sped'"):
        load_plugins().connect("tape", CONTEXT, {"drive": "left", "sped": 2})


def test_settings_of_a_type_that_text_cannot_give_are_told(tape: Installed) -> None:
    tape("speed: int = 1", "speed: range = range(1)")
    with pytest.raises(ConfigurationError, match="expected range"):
        load_plugins().connect("tape", CONTEXT, {"drive": "left", "speed": "fast"})


def test_a_backend_that_nobody_brings_is_told_with_what_was_left_out(tape: Installed) -> None:
    tape("from contextlib", "import no_such_module\n    from contextlib")
    tape(kind="reel", distribution="gateway-reel", plugin="reel")
    with pytest.raises(UnknownBackend) as caught:
        load_plugins().connect("tape", CONTEXT, {})
    for told in ("'tape'", "reel", "gateway-tape 1.2.3", "no_such_module"):
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "yield SimpleNamespace(context=context, settings=settings)",
            "raise RuntimeError('no drive')\n        yield",
        ),
        ("@asynccontextmanager\n    async def connect(context, settings)", "def connect(settings)"),
        ("yield SimpleNamespace(context=context, settings=settings)", "return\n        yield"),
    ],
)
async def test_a_plugin_that_fails_to_connect_fails_with_a_backend_error(
    tape: Installed, old: str, new: str
) -> None:
    tape(old, new)
    with pytest.raises(BackendError, match="connecting to the backend 'tape' failed"):
        await load_plugins().connect("tape", CONTEXT, {"drive": "left"}).__aenter__()


@pytest.mark.usefixtures("ours")
async def test_a_backend_error_of_a_plugin_that_fails_to_connect_keeps_its_class(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        await load_plugins().connect("local", CONTEXT, {"root": str(tmp_path / "a" / "b")}).__aenter__()


async def test_the_callers_own_error_passes_through_a_connection_unchanged(tape: Installed) -> None:
    tape()
    with pytest.raises(KeyError, match="mine"):
        async with load_plugins().connect("tape", CONTEXT, {"drive": "left"}):
            raise KeyError("mine")
