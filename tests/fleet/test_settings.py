"""What a product may change about its fleet, and what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.score import DEFAULT, WEIGHT_MAX, WEIGHTS
from pilothouse.fleet.settings import SECONDS_MAX, FleetSettings, settings_from_json

SECONDS = st.floats(0, SECONDS_MAX)


def test_a_product_that_says_nothing_changes_nothing() -> None:
    """Preemption does nothing unless it is asked for."""
    said = settings_from_json({})

    assert said == FleetSettings()
    assert said.preemption is False
    assert said.weigh({}) == DEFAULT


@given(
    weights=st.dictionaries(st.sampled_from(WEIGHTS), st.floats(0, WEIGHT_MAX)),
    preemption=st.booleans(),
    least=SECONDS,
    grace=SECONDS,
)
def test_settings_survive_their_json(weights: dict[str, float], preemption: bool, least: float, grace: float) -> None:
    """Whatever they are."""
    said = FleetSettings(weights=weights, preemption=preemption, min_running_seconds=least, stop_grace_seconds=grace)

    assert settings_from_json(said.as_json()) == said


def test_a_request_weighs_more_than_the_product_and_the_product_more_than_the_default() -> None:
    """Weight by weight."""
    weights = FleetSettings(weights={"age": 2.0, "load": 0.0}).weigh({"age": 3.0})

    assert (weights.age, weights.load, weights.priority) == (3.0, 0.0, DEFAULT.priority)


@pytest.mark.parametrize(
    ("said", "names", "mend"),
    [
        ([], "settings are []", "preemption"),
        (None, "settings are None", "preemption"),
        ({"preemtion": True}, "'preemtion'", "did you mean preemption"),
        ({"zebra": 1}, "'zebra'", "they are weights"),
        ({"preemption": 1}, "preemption is 1", "true or false"),
        ({"weights": [1]}, "weights is [1]", "table of weights"),
        ({"weights": {"ages": 1}}, "'ages'", "did you mean age"),
        ({"weights": {"age": -1}}, "age is -1", "from 0"),
        ({"weights": {"age": "2"}}, "age is '2'", "from 0"),
        ({"min_running_seconds": -1}, "min_running_seconds is -1", "from 0 to 86400"),
        ({"min_running_seconds": True}, "min_running_seconds is True", "from 0 to 86400"),
        ({"stop_grace_seconds": float("nan")}, "stop_grace_seconds is nan", "from 0 to 86400"),
        ({"stop_grace_seconds": 1e9}, "stop_grace_seconds is 1000000000.0", "from 0 to 86400"),
        ({"stop_grace_seconds": None}, "stop_grace_seconds is None", "from 0 to 86400"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_mend(said: Json, names: str, mend: str) -> None:
    """The value stands in the message, and what would do in the fix."""
    with pytest.raises(BadValue) as caught:
        settings_from_json(said)

    assert names in caught.value.message
    assert mend in caught.value.fix
