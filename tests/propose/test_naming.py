"""Every proposer has a name, and no other name is taken for one."""

from __future__ import annotations

import importlib.util

import pytest
from tests.proposals.searches import TRAINING, search_of

from pilothouse.campaigns.autopilot_definition import Autopilot
from pilothouse.errors import BadValue
from pilothouse.propose.naming import NAMES, proposer_named
from pilothouse.propose.optuna import NEEDS, Sampler

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
    assert tuple(schema["properties"]["proposer"]["enum"]) == NAMES


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A misspelt proposer is no silent default."""
    with pytest.raises(BadValue, match="'one_axis'") as refusal:
        proposer_named("one_axis")
    assert "one-axis, random, surrogate, tpe, cma-es, gp" in refusal.value.fix
