"""What a person may say of a factory, on the command line and in the settings, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pilothouse.cli.factory import engines_of, name_of, read_token
from pilothouse.errors import BadValue, UsageError
from pilothouse.settings import Settings, resolve

TABLE = {"engines": {"claude": ["claude", "-p"], "scribe": ["scribe", "{task}"]}, "capabilities": ["disk:fast"]}


def settings(table: object, **variables: str) -> Settings:
    """Return the settings of a folder whose file has this `[factory]` table."""
    return resolve(variables, {"factory": table}, folder=Path("/work"), home=None)


def test_the_settings_name_engines_and_capabilities() -> None:
    """And the enrolment token comes from the environment alone."""
    read = settings(TABLE, PILOTHOUSE_ENROLMENT_TOKEN="ph_enrolment_x")  # noqa: S106  no password of anything

    assert read.factory.engines == {"claude": ("claude", "-p"), "scribe": ("scribe", "{task}")}
    assert read.factory.capabilities == ("disk:fast",)
    assert read.enrolment_token == "ph_enrolment_x"  # noqa: S105  no password of anything
    assert "ph_enrolment_x" not in repr(read)
    assert settings({}).factory.engines == {}


@pytest.mark.parametrize(
    "table",
    [
        "x",
        ["x"],
        {"seats": 2},
        {"engines": ["x"]},
        {"engines": {"x": "claude -p"}},
        {"engines": {"x": []}},
        {"engines": {"x": [1]}},
        {"capabilities": "x"},
        {"capabilities": [1]},
    ],
)
def test_a_table_of_another_form_is_refused(table: object) -> None:
    """With what stands there."""
    with pytest.raises(BadValue, match="factory"):
        settings(table)


@pytest.mark.parametrize("name", ["token", "enrolment_token"])
def test_no_file_may_hold_a_secret(name: str) -> None:
    """Such files are committed."""
    with pytest.raises(BadValue, match=name):
        resolve({}, {name: "ph_user_x"}, folder=Path("/work"), home=None)


def test_the_command_line_counts_before_the_settings() -> None:
    """Words are split as a shell would."""
    engines = engines_of(settings(TABLE), ["claude=claude --model 'a b' {task}", "own=./run"])

    assert engines["claude"] == ["claude", "--model", "a b", "{task}"]
    assert engines["own"] == ["./run"]
    assert engines["scribe"] == ("scribe", "{task}")


@pytest.mark.parametrize("text", ["claude", "=claude", "claude=", "claude='torn"])
def test_an_engine_that_cannot_be_read_is_named(text: str) -> None:
    """With how to write it."""
    with pytest.raises(BadValue, match="engine"):
        engines_of(settings({}), [text])


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "ü", "x" * 65])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """It becomes a folder and a part of URLs."""
    with pytest.raises(BadValue, match="name"):
        name_of(name)


def test_a_factory_has_its_machines_name_if_it_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever that machine is called."""
    monkeypatch.setattr("socket.gethostname", lambda: "my_mac (2).local")

    assert name_of(None) == "my_mac-2-.local"
    assert name_of("gpu-7") == "gpu-7"


def test_a_token_is_read_from_its_file_or_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what surrounds it; nothing there is no token."""
    (tmp_path / "token").write_text("ph_enrolment_x\n", encoding="ascii")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" ph_enrolment_y \n")))

    assert read_token(tmp_path / "token") == "ph_enrolment_x"
    assert read_token(None) == "ph_enrolment_y"
    assert read_token(None) is None


@pytest.mark.parametrize("data", ["ü", "a\nb", "a\x00b"])
def test_a_token_of_another_form_is_refused(data: str, tmp_path: Path) -> None:
    """Before it is sent anywhere."""
    (tmp_path / "token").write_text(data, encoding="utf-8")

    with pytest.raises(UsageError, match="token"):
        read_token(tmp_path / "token")


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As what it is."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "none")
