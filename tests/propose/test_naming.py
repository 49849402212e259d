"""Every proposer has a name, and no other name is taken for one."""

from __future__ import annotations

import importlib.util

import pytest
from tests.proposals.searches import TRAINING, search_of

from pilothouse.campaigns.agent_section import TELLING, Agent
from pilothouse.campaigns.autopilot_definition import Autopilot
from pilothouse.errors import BadValue
from pilothouse.propose.agent_presets import PRESETS
from pilothouse.propose.naming import ASKING, NAMES, proposer_named
from pilothouse.propose.optuna import NEEDS, Sampler

COSTS = {
    "claude": b'{"type": "result", "total_cost_usd": 0.5}',
    "opencode": b'{"type": "step_finish", "part": {"cost": 0.5}}',
    "codex": b'{"type": "turn.completed", "usage": {"input_tokens": 1}}',
    "aider": b"Cost: $0.5",
}
"""What each agent says of itself, with a cost where it tells one."""

HERE = [
    name
    for name in NAMES
    if name not in set(Sampler) or all(importlib.util.find_spec(package) for package in NEEDS[Sampler(name)])
]


@pytest.mark.parametrize("name", HERE)
def test_a_proposer_records_its_proposals_under_its_name(name: str) -> None:
    """So that sources can be compared."""
    suggestion = proposer_named(name).propose(search_of(TRAINING))
    assert suggestion is not None
    assert suggestion.source == name


def test_a_campaign_file_may_name_each_of_them() -> None:
    """And no other: the file's schema and this room agree."""
    schema = Autopilot.model_json_schema()
    assert tuple(schema["properties"]["proposer"]["enum"]) == (*NAMES, *ASKING)


def test_an_agent_may_be_the_overriding_half_of_any_of_them() -> None:
    """And of nobody else: a hybrid's base is one of the named ones."""
    schema = Agent.model_json_schema()
    (base,) = [each for each in schema["properties"]["base"]["anyOf"] if "enum" in each]
    assert tuple(base["enum"]) == NAMES


def test_the_file_s_presets_and_share_are_those_of_this_room() -> None:
    """The pure room states them anew, since it may not look up here."""
    schema = Agent.model_json_schema()
    assert set(schema["properties"]["preset"]["enum"]) == {"command", *PRESETS}
    assert {name for name in PRESETS if Agent.model_validate({"preset": name}).tells_cost()} == TELLING
    told = {name for name in PRESETS if PRESETS[name].usage(COSTS[name]).cost_usd is not None}
    assert told == TELLING


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A misspelt proposer is no silent default."""
    with pytest.raises(BadValue, match="'one_axis'") as refusal:
        proposer_named("one_axis")
    assert "one-axis, random, surrogate, tpe, cma-es, gp" in refusal.value.fix
