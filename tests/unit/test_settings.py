import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from gateway.base.errors import ConfigurationError
from gateway.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "config" / "gateway.example.toml"


def test_the_example_file_has_every_setting_with_its_default() -> None:
    loaded = Settings.load(EXAMPLE, environment={})
    assert Settings() == loaded
    shown = tomllib.loads(EXAMPLE.read_text())
    expected = {name: sorted(section) for name, section in msgspec.to_builtins(Settings()).items()}
    assert expected == {name: sorted(section) for name, section in shown.items()}


def test_the_environment_overrides_the_file_and_the_command_line_both(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[server]\nport = 1\nhost = 'a'\n[uploads]\nmax_length = 5\n")
    settings = Settings.load(
        file,
        environment={"GATEWAY_SERVER__PORT": "2", "GATEWAY_SERVER__HOST": "b", "OTHER": "x"},
        overrides={"server": {"port": 3}},
    )
    assert (3, "b", 5) == (settings.server.port, settings.server.host, settings.uploads.max_length)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[uploads]\nmax_length = 0\n", "uploads.max_length"),
        ("[uploads]\nmax_lenght = 9\n", "max_lenght"),
        ("[server]\nport = 'eighty'\n", "server.port"),
        ("[server]\nport = 70000\n", "server.port"),
        ("[nonsense]\na = 1\n", "nonsense"),
        ("port = 1\n", "port"),
        ("[server\n", "gateway.toml"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file, environment={})
    assert named in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_wrong_value_of_the_environment_is_named_with_its_variable() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_JOBS__WORKERS"):
        Settings.load(environment={"GATEWAY_JOBS__WORKERS": "many"})


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path / "no.toml"))):
        Settings.load(tmp_path / "no.toml", environment={})
