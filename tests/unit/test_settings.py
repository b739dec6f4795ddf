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


SECRET = "12345"
"""Digits alone: in TOML they are a number, and for an operator they are a secret."""


def test_the_environment_reaches_one_setting_of_a_kind(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[sign_in.kinds.twilio]\nservice_sid = 'VA1'\napi_key_secret = 'old'\n[links.kinds.s3]\n")
    settings = Settings.load(
        file,
        environment={
            "GATEWAY_SIGN_IN__KINDS__TWILIO__API_KEY_SECRET": "new",
            "GATEWAY_SIGN_IN__KINDS__TWO_WORDS__CLIENT_ID": "me",
            "GATEWAY_LINKS__KINDS__GDRIVE__CLIENT_SECRET": "other",
            "GATEWAY_HOME__SETTINGS__SECRET_ACCESS_KEY": "key",
        },
    )
    assert {
        "twilio": {"service_sid": "VA1", "api_key_secret": "new"},
        "two-words": {"client_id": "me"},
    } == settings.sign_in.kinds
    assert {"s3": {}, "gdrive": {"client_secret": "other"}} == settings.links.kinds
    assert {"secret_access_key": "key"} == settings.home.settings


def test_a_kind_of_the_environment_alone_takes_the_place_of_the_one_for_trying_out() -> None:
    settings = Settings.load(environment={"GATEWAY_SIGN_IN__KINDS__TWILIO__SERVICE_SID": "VA1"})
    assert ["twilio"] == list(settings.sign_in.kinds)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_variable_may_name_a_file_that_holds_the_value(tmp_path: Path, end: str) -> None:
    (tmp_path / "secret").write_bytes((SECRET + end).encode())
    settings = Settings.load(
        environment={
            "GATEWAY_SIGN_IN__KINDS__GOOGLE__CLIENT_SECRET__FILE": str(tmp_path / "secret"),
            "GATEWAY_DATA__CATALOG_URL__FILE": str(tmp_path / "secret"),
        }
    )
    assert SECRET == settings.sign_in.kinds["google"]["client_secret"]
    assert SECRET == settings.data.catalog_url


@pytest.mark.parametrize("setting", ["DATA__KEYS_URL", "SIGN_IN__KINDS__TWO_WORDS__CLIENT_SECRET"])
def test_a_value_and_a_file_for_one_setting_are_too_many(tmp_path: Path, setting: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    name = f"GATEWAY_{setting}"
    with pytest.raises(ConfigurationError, match=f"{name} and {name}__FILE"):
        Settings.load(environment={name: "x", f"{name}__FILE": str(tmp_path / "secret")})


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff", "not UTF-8")])
def test_a_file_that_cannot_be_read_is_named_with_its_setting(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        Settings.load(environment={"GATEWAY_LINKS__KINDS__S3__SECRET__FILE": str(tmp_path / "secret")})
    for named in (
        "links.kinds.s3.secret",
        "GATEWAY_LINKS__KINDS__S3__SECRET__FILE",
        str(tmp_path / "secret"),
    ):
        assert named in str(caught.value)


def test_what_leads_into_a_setting_that_is_no_table_is_named() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_SERVER__PORT__X"):
        Settings.load(environment={"GATEWAY_SERVER__PORT__X": "1"})
