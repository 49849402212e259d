"""Agents for tests: a few lines of Python each, run for real."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.proposals.searches import TRAINING, search_of

from pilothouse.proposals.search import Search
from pilothouse.propose.agent import AgentProposer
from pilothouse.propose.agent_presets import Preset, command
from pilothouse.propose.asking import Agent
from pilothouse.propose.sandbox.level import landlocked
from pilothouse.propose.sandbox.plan import Limits

ANSWER: dict[str, Any] = {
    "overrides": {"learning_rate": 0.002},
    "rationale": "The loss still falls at the end.",
    "hypothesis": "A larger step gets further in the same time.",
    "risk": "low",
    "rollback": "Set it back.",
    "why_not_identical": "0.002 was not tried.",
}
WRITES = f"import json, os; open('proposal.json', 'w').write({json.dumps(json.dumps(ANSWER))})"
LIMITS = Limits(wall_seconds=30, cpu_seconds=20, memory_mb=2048)


def agent(tmp_path: Path, source: str, **changed: Any) -> Agent:
    """Return an agent that runs the lines."""
    level = landlocked()
    if not level.confines:
        pytest.skip(level.told())
    preset = changed.pop("preset", None) or command([sys.executable, "-I", "-S", "-c", source])
    given: dict[str, Any] = {"preset": preset, "work": tmp_path / "agents", "level": level, "limits": LIMITS, **changed}
    return Agent(**given)


def proposer(tmp_path: Path, source: str, **changed: Any) -> AgentProposer:
    """Return a proposer that asks such an agent."""
    return AgentProposer(agent(tmp_path, source, **changed))


def speaking(source: str, like: Preset) -> Preset:
    """Return a preset that runs the lines and is read as another agent is."""
    return Preset(
        name=like.name,
        command=lambda _: [sys.executable, "-I", "-S", "-c", source],
        variables=like.variables,
        prompted=like.prompted,
        usage=like.usage,
        answer=like.answer,
    )


def a_search(*, seed: int = 1) -> Search:
    """Return the search that is asked about."""
    return search_of(TRAINING, seed=seed)
