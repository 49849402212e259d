"""Every command of the ferry's recipe does what the page says, in the order of the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.cli import ROOT
from tests.acceptance.ferries import Harbour, make_harbour
from tests.acceptance.test_ferry import QUICK

PAGE = ROOT / "docs/recipes/ferries.md"
SCHEDULE = ("\n[ferry.validators.eval_loss]", '\n[ferry.schedule]\ncron = "0 6 * * *"\n\n[ferry.validators.eval_loss]')


def commands() -> Iterator[list[str]]:
    """Yield the words of each command in the page's shell blocks."""
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield from (shlex.split(line) for line in block.splitlines())


def newest_proposal(harbour: Harbour) -> str:
    """Return the proposal that the page calls PROPOSAL."""
    return str(harbour.json("proposal", "list")[-1]["id"])


def test_every_command_of_the_recipe_runs(tmp_path: Path) -> None:
    """The example is replaced by a toy once it is written; nothing else differs from the page."""
    harbour = make_harbour(tmp_path / "repository", QUICK)
    (harbour.repository / "daily.toml").unlink()
    harbour.commit("Begin with nothing")
    ran = []
    for words in commands():
        assert words[0] == "pilothouse", words
        known = [newest_proposal(harbour) if word == "PROPOSAL" else word for word in words[1:]]

        said = harbour.say(*known)

        assert said.code == 0, (words, said.err)
        ran.append(" ".join(words[1:3]))
        if words[1:3] == ["campaign", "init"]:
            harbour.write(QUICK, SCHEDULE)
    assert {"proposal draft", "proposal approve", "campaign run", "campaign schedule", "logbook verify"} <= set(ran)
    assert len(harbour.json("run", "list")) == 1
