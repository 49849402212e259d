"""What the next looks need is worked out before they ask for it."""

from __future__ import annotations

from pilothouse.campaigns.autopilot import design_of
from pilothouse.campaigns.error_rate import grant_of
from pilothouse.campaigns.sections import Decision
from pilothouse.engine.design_ahead import DesignAhead
from pilothouse.evidence.sequential import invert
from pilothouse.testing import values

DECISION = Decision(promised=0.0123)
"""A promise that no other test of this process has asked for."""


def test_the_first_trials_design_is_ready_when_it_is_asked_for() -> None:
    """Nothing is worked out a second time."""
    ahead = DesignAhead(DECISION)
    ahead.look([values.make_trial(0)])
    assert ahead.wait(60)
    before = invert.cache_info().misses

    invert(design_of(DECISION, grant_of(DECISION, [values.make_trial(0)], number=1)))

    assert invert.cache_info().misses == before


def test_what_is_known_begins_nothing() -> None:
    """A campaign that waits asks four times a second."""
    ahead = DesignAhead(Decision(mode="single", alpha=0.0321))
    ahead.look([])
    assert ahead.wait(60)
    before = invert.cache_info()

    for _ in range(3):
        ahead.look([values.make_trial(0), values.make_trial(1)])

    assert ahead.wait(60)
    assert invert.cache_info() == before
