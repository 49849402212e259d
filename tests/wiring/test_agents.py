"""From the tables of a file to an agent that can be run here, or to what hinders it before anything begins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.campaigns.ferry_world import definition_of
from tests.campaigns.pilot_world import pilot_definition

from pilothouse.campaigns.agent_section import Agent as Section
from pilothouse.errors import OperationFailed, Refused
from pilothouse.propose.agent import AgentProposer
from pilothouse.propose.agent_presets import Setting
from pilothouse.propose.hybrid import Hybrid
from pilothouse.propose.sandbox.level import Level, Rung, level
from pilothouse.settings import Settings
from pilothouse.wiring.agents import Place, agent_of, with_folders
from pilothouse.wiring.proposers import proposer_of
from pilothouse.wiring.workspace import Workspace, open_workspace

CONFINED = Level(rung=Rung.LANDLOCK, holds=("files",), landlock=4)
OPEN = Level(rung=Rung.NONE, why="an old kernel")
COMMAND: dict[str, Any] = {"command": ["python", "-I", "agent.py", "word"]}
SETTING = Setting(context=Path("/c"), folder=Path("/o"), schema="{}")
FUTURE, PAST = "2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"


def place(table: dict[str, Any], name: str = "autopilot.agent") -> Place:
    """Return the table of a file that names an agent."""
    return Place(section=Section.model_validate(table), table=name)


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Return a home in a working folder that has an agent's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.py").touch()
    workspace = open_workspace(Settings(home=tmp_path / "home", product="demo"), create=True)
    yield workspace
    workspace.store.close()


def test_a_command_is_located_and_may_read_its_own_files(workspace: Workspace) -> None:
    """`python` is this interpreter, a file of the working folder has its full path, and other words stay."""
    found = agent_of(workspace, pilot_definition(), place(COMMAND), CONFINED)
    script = Path.cwd() / "agent.py"

    assert list(found.preset.command(SETTING)) == [sys.executable, "-I", str(script), "word"]
    assert list(found.readable) == [script]
    assert list(found.forbidden) == [workspace.home]
    assert found.work == workspace.home / "agents" / "default" / "pilot"
    assert (found.preset.network, found.preset.variables, found.limits.wall_seconds) == (False, frozenset(), 900.0)


@pytest.mark.parametrize(
    ("table", "kind", "words"),
    [
        ({"command": ["no-such-agent"]}, OperationFailed, "'no-such-agent' is not found"),
        ({**COMMAND, "readable": ["missing"]}, OperationFailed, "which is not there"),
        ({**COMMAND, "readable": ["home"]}, Refused, "lies in the home"),
        ({**COMMAND, "readable": ["home/pilothouse.db"]}, Refused, "lies in the home"),
        ({**COMMAND, "readable": ["way"]}, Refused, "lies in the home"),
        ({**COMMAND, "readable": ["."]}, Refused, "could read"),
        ({**COMMAND, "readable": ["/"]}, Refused, "could read"),
    ],
)
def test_what_cannot_be_run_or_would_read_the_home_is_refused_first(
    workspace: Workspace, table: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """Through a folder above it, a file in it, or a link that leads there."""
    Path("way").symlink_to(workspace.home)

    with pytest.raises(kind, match=words):
        agent_of(workspace, pilot_definition(), place(table), CONFINED)


def waived(until: str) -> Place:
    """Return an agent that somebody lets run unconfined until then."""
    return place({**COMMAND, "unconfined": {"by": "ada", "reason": "a test", "until": until}})


def test_without_confinement_an_agent_needs_a_waiver_that_holds(workspace: Workspace) -> None:
    """Nobody's, and one that has ended, are refused before anything begins; it is asked again before each run."""
    with pytest.raises(Refused, match=r"cannot confine an agent: none \(an old kernel\)"):
        agent_of(workspace, pilot_definition(), place(COMMAND), OPEN)
    with pytest.raises(Refused, match=f"by ada ended at {PAST}"):
        agent_of(workspace, pilot_definition(), waived(PAST), OPEN)

    found = agent_of(workspace, pilot_definition(), waived(FUTURE), OPEN)
    assert (found.unconfined_allowed_by, found.waiver_ended()) == ("ada", False)
    assert agent_of(workspace, pilot_definition(), waived(PAST), CONFINED).waiver_ended()


def test_the_file_names_an_agent_alone_or_a_hybrid(workspace: Workspace) -> None:
    """A hybrid records the agent's proposals under the agent's own name, and asks for 0.3 unless told otherwise."""
    table = "\n[autopilot]\nproposer = '{}'\n[autopilot.agent]\ncommand = ['python', 'agent.py']\n{}"
    if not level().confines:
        pytest.skip(level().told())

    alone = proposer_of(workspace, pilot_definition(extra=table.format("agent", "")))
    assert isinstance(alone, AgentProposer)
    hybrid = proposer_of(workspace, pilot_definition(extra=table.format("hybrid", "base = 'random'\n")))
    assert isinstance(hybrid, Hybrid)
    assert (hybrid.share, hybrid.source) == (0.3, "agent:command")


def test_before_any_run_there_is_nothing_to_show(workspace: Workspace) -> None:
    """Neither of the last trial nor of the baseline."""
    definition = pilot_definition()
    found = with_folders(agent_of(workspace, definition, place(COMMAND), CONFINED), workspace, definition)

    assert (found.artefacts(), found.best()) == (None, None)


def test_what_hinders_an_agent_names_the_table_that_it_stands_in(workspace: Workspace) -> None:
    """A ferry's is mended where a ferry names it."""
    with pytest.raises(OperationFailed) as missing:
        agent_of(workspace, definition_of(), place({"command": ["no-such-agent"]}, "ferry.agent"), CONFINED)
    with pytest.raises(Refused) as unconfined:
        agent_of(workspace, definition_of(), place(COMMAND, "ferry.agent"), OPEN)

    assert "[ferry.agent]" in missing.value.fix
    assert "[ferry.agent.unconfined]" in unconfined.value.fix
