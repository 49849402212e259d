"""A ferry as its people have it: a git repository with the template, the product's own processes, real folders."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pilothouse.cli.exits import exit_code
from pilothouse.cli.main import app
from pilothouse.errors import PilothouseError
from pilothouse.store.sqlite.store import SqliteStore
from tests.acceptance.cli import Said

TOY = Path(__file__).with_name("toy_ferry")
NAMED = ("-c", "user.name=ada", "-c", "user.email=ada@localhost")


@dataclass(frozen=True)
class Harbour:
    """A repository whose working folder every command is called in."""

    repository: Path

    @property
    def home(self) -> Path:
        """Where the product keeps its state."""
        return self.repository / ".pilothouse"

    @property
    def store(self) -> SqliteStore:
        """The database, for reading."""
        return SqliteStore(self.home / "pilothouse.db")

    def git(self, *words: str) -> str:
        """Run git in the repository and return what it said."""
        command = ["git", "-C", str(self.repository), *NAMED, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def write(self, *changes: tuple[str, str], name: str = "daily.toml") -> None:
        """Write the template with these replacements, each of which must apply, and commit it."""
        text = (TOY / "ferry.toml").read_text(encoding="utf-8")
        command = f'"{sys.executable}", "{TOY / "train.py"}"'
        for before, after in (('"python", "TRAIN"', command), *changes):
            assert before in text, before
            text = text.replace(before, after)
        (self.repository / name).write_text(text, encoding="utf-8")
        self.commit(f"Set {name}")

    def commit(self, message: str) -> None:
        """Commit whatever is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pilothouse", *words],
            cwd=self.repository,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def say(self, *words: str) -> Said:
        """Run a command to its end, in this process, since a test gives many; its errors get their exit codes."""
        with contextlib.chdir(self.repository):
            said = CliRunner().invoke(app, list(words))
        error = said.exception
        if isinstance(error, PilothouseError):
            return Said(code=exit_code(error), out=said.stdout, err=f"{said.stderr}{error.message}; {error.fix}")
        return Said(code=said.exit_code, out=said.stdout, err=said.stderr)

    def json(self, *words: str) -> Any:
        """Run a reading command, which must succeed."""
        said = self.say(*words, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    def approve(self) -> str:
        """Approve the newest proposal as ada and return its id."""
        with self.store.read() as tx:
            name = tx.campaigns.listed(tx.campaigns.products()[0])[0].name
            proposal = tx.proposals.listed(tx.campaigns.products()[0], name)[-1].id
        said = self.say("proposal", "approve", proposal, "--by", "ada")
        assert said.code == 0, said.err
        return proposal

    def sail(self) -> Said:
        """Draft, approve and run one ferry."""
        self.say("proposal", "draft", "--file", "daily.toml")
        self.approve()
        return self.say("campaign", "run", "daily.toml", "--once")


def make_harbour(folder: Path, *changes: tuple[str, str]) -> Harbour:
    """Return a repository with the toy template committed."""
    harbour = Harbour(folder)
    folder.mkdir()
    harbour.git("init", "--quiet", "--initial-branch=main")
    (folder / ".gitignore").write_text("/.pilothouse/\n", encoding="utf-8")
    harbour.write(*changes)
    return harbour
