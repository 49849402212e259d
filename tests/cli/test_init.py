"""`pilothouse init` reads a script and writes a campaign for it, and refuses what it cannot read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pilothouse.cli import main as command_line

Spoken = tuple[int, str, str]
Say = Callable[..., Spoken]
SCRIPT = """\
import argparse, json, pathlib, sys
pathlib.Path("was-run").touch()
parser = argparse.ArgumentParser()
sub = parser.add_subparsers()
train = sub.add_parser("train")
train.add_argument("--lr", type=float, default=0.1, help="how far (default: %(default)s)")
parser.parse_args()
"""
PLAIN = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', type=float, default=0.1)\n"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Return a way to speak to the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def speak(*words: str) -> Spoken:
        monkeypatch.setattr(sys, "argv", ["pilothouse", *words])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return speak


def test_a_starter_can_be_checked_and_nothing_is_written_over(say: Say, tmp_path: Path) -> None:
    """Either file that is there keeps both from being written."""
    code, out, _ = say("init", "--output", "first.toml")
    assert (code, "first_train.py" in out) == (0, True)
    assert say("campaign", "check", "first.toml")[:2] == (
        0,
        "first.toml: campaign first, 2 knobs, nothing to mend\n",
    )
    (tmp_path / "first.toml").unlink()
    (tmp_path / "first_train.py").write_text("mine", encoding="utf-8")

    code, _, err = say("init", "--output", "first.toml")

    assert (code, "--force" in err) == (2, True)
    assert not (tmp_path / "first.toml").exists()
    assert (tmp_path / "first_train.py").read_text(encoding="utf-8") == "mine"
    assert say("init", "--output", "first.toml", "--force")[0] == 0
    assert (tmp_path / "first_train.py").read_text(encoding="utf-8") != "mine"


def test_a_script_is_read_without_being_run_and_the_rest_is_asked_of_a_person(say: Say, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PLAIN + "open('was-run', 'w')\n", encoding="utf-8")

    code, out, _ = say("init", "train.py")

    assert (code, "replace FILL_IN" in out) == (0, True)
    code, _, err = say("campaign", "check", "train.toml")
    assert (code, "metrics.FILL_IN still holds FILL_IN" in err, "train.toml, line" in err) == (2, True, True)
    assert not (tmp_path / "was-run").exists()


def test_what_was_read_is_printed_as_json_and_nothing_is_written(say: Say, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PLAIN, encoding="utf-8")

    code, out, _ = say("init", "train.py", "--json")

    assert code == 0
    assert [(each["name"], each["role"]) for each in json.loads(out)["arguments"]] == [("lr", "knob")]
    assert not (tmp_path / "train.toml").exists()


def test_help_is_run_only_where_that_is_said(say: Say, tmp_path: Path) -> None:
    """The script has subcommands, so its text alone does not tell which arguments count."""
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    code, _, err = say("init", "train.py")
    assert (code, "train.py SUBCOMMAND" in err, (tmp_path / "was-run").exists()) == (2, True, False)

    code, out, _ = say("init", "--run-help", "--command", "python train.py train", "--json")

    assert (code, (tmp_path / "was-run").exists()) == (0, True)
    read = json.loads(out)
    assert read["command"] == ["python", "train.py", "train"]
    assert [(each["name"], each["default"], each["role"]) for each in read["arguments"]] == [("lr", 0.1, "knob")]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("none.py",), 2, "There is no script none.py"),
        (("folder",), 2, "is a folder"),
        (("binary",), 2, "no text in UTF-8"),
        (("broken.py",), 2, "line 1"),
        (("empty.py",), 2, "declares no arguments"),
        (("--command", "x 'y"), 2, "cannot be split"),
        (("--command", ""), 2, "names no program"),
        (("--command", "some-program"), 2, "--run-help"),
        (("--command", "./no-such-program", "--run-help"), 1, "cannot be started"),
        (("empty.py", "--run-help"), 2, "tells no options"),
        (("failing.py", "--run-help"), 1, "ended with 3: no such thing"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_mend(
    say: Say, tmp_path: Path, words: tuple[str, ...], code: int, named: str
) -> None:
    """Nothing is left behind."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "broken.py").write_text("def x(:\n", encoding="utf-8")
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "failing.py").write_text("print('no such thing')\nraise SystemExit(3)\n", encoding="utf-8")

    left, out, err = say("init", *words)

    assert (left, out) == (code, "")
    assert named in err
    assert "mend:" in err
    assert not list(tmp_path.glob("*.toml"))


def test_a_script_is_never_written_over_by_its_own_campaign(say: Say, tmp_path: Path) -> None:
    """Not by force either, and by whatever way it is named."""
    (tmp_path / "train.py").write_text(PLAIN, encoding="utf-8")
    (tmp_path / "link.py").symlink_to("train.py")

    for script in ("train.py", "link.py"):
        code, _, err = say("init", script, "--output", "train.py", "--force")
        assert (code, "the script itself" in err) == (2, True)
    assert (tmp_path / "train.py").read_text(encoding="utf-8") == PLAIN
