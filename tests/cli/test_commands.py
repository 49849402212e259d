"""The command line refuses what is wrong, clearly and with the right exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.cli import CAMPAIGN

from pilothouse.cli import main as command_line
from pilothouse.cli.exits import EXIT_CODES, exit_code
from pilothouse.errors import PilothouseError

Spoken = tuple[int, str, str]
Say = Callable[..., Spoken]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Return a way to speak to the command line in this process; its home is not made yet."""
    monkeypatch.chdir(tmp_path)

    def speak(*words: str) -> Spoken:
        monkeypatch.setattr(sys, "argv", ["pilothouse", *words])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return speak


def every_error() -> list[type[PilothouseError]]:
    """Return the error classes of the product."""
    found: list[type[PilothouseError]] = []
    waiting = list(PilothouseError.__subclasses__())
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.__subclasses__()
    return found


@pytest.mark.parametrize("error", every_error())
def test_every_error_has_an_exit_code(error: type[PilothouseError]) -> None:
    """The table is total: no error of the product can leave without its code."""
    families = [family for family in EXIT_CODES if issubclass(error, family)]

    assert len(families) == 1
    assert EXIT_CODES[families[0]] == exit_code(error.__new__(error))


def test_the_version_is_told(say: Say) -> None:
    """`--version` needs no command."""
    code, out, _ = say("--version")

    assert code == 0
    assert out.startswith("pilothouse 0.")


@pytest.mark.parametrize(
    "words",
    [
        ("campaign", "status"),
        ("campaign", "list"),
        ("campaign", "stop"),
        ("run", "list"),
        ("run", "show", "latest"),
        ("job", "list"),
        ("proposal", "list"),
        ("logbook", "show"),
    ],
)
def test_a_workspace_that_is_not_there_says_how_to_begin(say: Say, words: tuple[str, ...]) -> None:
    """Reading makes nothing: exit 5, and no folder appears."""
    code, _, err = say(*words)

    assert code == 5
    assert "pilothouse demo" in err
    assert not Path(".pilothouse").exists()


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        (("silent_after", "silent_aftre"), 2, "did you mean 'silent_after'"),
        (("default = 0.05", "default = 5.0"), 3, "0.001"),
        (("default = 0.05", 'default = "x"'), 2, "rate"),
        (("max = 0.5", "max = 0.0001"), 2, "rate"),
    ],
)
def test_a_bad_campaign_file_changes_nothing(say: Say, change: tuple[str, str], code: int, named: str) -> None:
    """The value and the mend stand in the error, and no workspace is made."""
    text = CAMPAIGN.read_text(encoding="utf-8")
    assert change[0] in text
    Path("bad.toml").write_text(text.replace(*change), encoding="utf-8")

    said = say("campaign", "run", "bad.toml", "--once")

    assert said[0] == code, said
    assert named in said[2]
    assert "mend:" in said[2]
    assert not Path(".pilothouse").exists()


@pytest.mark.parametrize(
    ("assignment", "code", "named"),
    [
        ("rate=9", 3, "0.5"),
        ("rate=nan", 3, "0.5"),
        ("rate=fast", 2, "fast"),
        ("rat=0.1", 2, "rate"),
        ("rate", 2, "KNOB=VALUE"),
        ("rate=0.4", 3, "factor"),
    ],
)
def test_a_bad_assignment_is_refused_before_anything_is_made(say: Say, assignment: str, code: int, named: str) -> None:
    """Range, step, type and name are checked first."""
    said = say("campaign", "run", str(CAMPAIGN), "--once", "--set", assignment)

    assert said[0] == code, said
    assert named in said[2]
    assert not Path(".pilothouse/runs").exists()


def test_once_and_iterations_exclude_each_other(say: Say) -> None:
    """A contradiction is a usage error."""
    code, _, err = say("campaign", "run", str(CAMPAIGN), "--once", "--iterations", "2")

    assert code == 2
    assert "--once" in err


def test_a_file_that_is_not_there_says_how_to_write_one(say: Say) -> None:
    """Exit 2 and the command that writes an example."""
    code, _, err = say("campaign", "run", "nowhere.toml")

    assert code == 2
    assert "campaign init nowhere.toml" in err


def test_init_writes_a_campaign_that_can_be_checked(say: Say) -> None:
    """The example is whole, and a file that is there is not written over."""
    assert say("campaign", "init", "mine.toml")[0] == 0
    assert say("campaign", "check", "mine.toml")[0] == 0
    code, _, err = say("campaign", "init", "mine.toml")

    assert code == 2
    assert "--force" in err
    assert say("campaign", "init", "mine.toml", "--force")[0] == 0
    assert say("campaign", "init", "other.toml", "--example", "unknown")[0] == 5


def test_the_schema_is_json_schema(say: Say) -> None:
    """Editors can complete and check campaign files by it."""
    code, out, _ = say("campaign", "schema")

    schema: dict[str, Any] = json.loads(out)
    assert code == 0
    kinds = [schema["$defs"][kind["$ref"].rpartition("/")[2]] for kind in schema["anyOf"]]
    assert {"campaign", "trainer", "flywheel", "golden"} <= kinds[0]["properties"].keys()
    assert all(kind["additionalProperties"] is False for kind in kinds)


def test_the_doctor_checks_every_part(say: Say) -> None:
    """Each line has a level, and what is wrong has a mend."""
    code, out, _ = say("doctor", "--json")

    found: dict[str, Any] = json.loads(out)
    checks = {row["check"]: row for row in found["checks"]}
    assert code == (0 if found["ok"] else 1)
    assert {"python", "sqlite", "home", "disk", "fsync", "database", "machine", "programs", "agents"} <= checks.keys()
    assert all(row["mend"] for row in checks.values() if row["level"] != "ok")


def test_the_doctor_finds_a_damaged_database(say: Say) -> None:
    """A file that is no database is a failure with its mend."""
    home = Path(".pilothouse")
    home.mkdir()
    (home / "pilothouse.db").write_bytes(b"this is no database" * 100)

    code, out, _ = say("doctor", "--json")

    database = next(row for row in json.loads(out)["checks"] if row["check"] == "database")
    assert code == 1
    assert database["level"] == "fail"
    assert database["mend"]


def test_a_setting_that_is_not_known_is_named(say: Say) -> None:
    """A typo in the settings file is no silent default."""
    Path("pilothouse.toml").write_text('hoem = "elsewhere"\n', encoding="utf-8")

    code, _, err = say("campaign", "list")

    assert code == 2
    assert "hoem" in err
    assert "home" in err


def test_replicates_of_an_autopilot_are_its_files_to_say(say: Say) -> None:
    """An option that would be ignored is refused."""
    file = Path(__file__).resolve().parents[2] / "examples" / "autopilot" / "spirals.toml"

    code, _, err = say("campaign", "calibrate", str(file), "--replicates", "4")

    assert code == 2
    assert "[decision] calibration" in err
