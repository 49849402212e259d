"""The example's agent, as a newcomer copies it: every answer of it may be tried, and none comes twice."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.proposals.searches import after, drafted, tried
from tests.propose.agents import a_search, proposer

from pilothouse.propose.agent_presets import command

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "autopilot" / "agent.py"
ASKED = 4


def test_the_example_s_agent_keeps_the_rules_and_repeats_nothing(tmp_path: Path) -> None:
    """Within range and step, one knob at a time, untouched by any line of the sandbox."""
    preset = command([sys.executable, "-I", "-S", str(SCRIPT)])
    asking, search, seen = proposer(tmp_path, "", preset=preset, readable=[SCRIPT]), a_search(), []
    for number in range(ASKED):
        asked = asking.ask(search)

        assert asked.answer is not None, asked.refusal
        assert asked.record.refusals == ()
        (change,) = drafted(search, asked.answer).changes
        seen.append((change.knob, change.after))
        search = after(search, tried(search, asked.answer), seed=number + 2)

    assert len(set(seen)) == ASKED
