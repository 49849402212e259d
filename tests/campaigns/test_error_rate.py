"""What a trial is granted follows from the trials before it, whatever the file promises by then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.campaigns.error_rate import grant_of, grants_ahead
from pilothouse.campaigns.record import Trial
from pilothouse.campaigns.sections import Decision
from pilothouse.proposals.promotion import Confirmation, Confirmed
from pilothouse.testing import values

KEPT = Confirmed(state=Confirmation.CONFIRMED, gain=0.1, p=0.01, reason="fresh runs agree")


def judged(number: int, level: float, *, kept: bool = False) -> Trial:
    """Return a trial that was judged at a level."""
    verdict = replace(values.make_verdict(), alpha=level)
    return replace(values.make_trial(number, verdict=verdict), confirmation=KEPT if kept else None)


@given(st.lists(st.booleans(), max_size=60))
def test_a_campaign_never_spends_more_than_it_promises(kept: list[bool]) -> None:
    """The levels granted one after another add up to at most the promise and what was given back."""
    decision, trials = Decision(), [values.make_trial(0)]
    for number, each in enumerate(kept, start=1):
        trials.append(judged(number, grant_of(decision, trials, number=number).level, kept=each))

    granted = [trial.verdict.alpha for trial in trials if trial.verdict is not None]
    back = [trial.verdict.alpha for trial in trials if trial.verdict is not None and trial.confirmation is not None]
    assert sum(granted) <= decision.promised + sum(back) + 1e-12


def test_what_was_screened_out_is_charged_nothing() -> None:
    free, charged = ([values.make_trial(0), judged(1, level)] for level in (0.0, 0.0009))

    assert grant_of(Decision(), free, number=2).after(0.0) == (0.0, 0.1)
    spent, left = grant_of(Decision(), charged, number=2).after(0.0)
    assert spent == pytest.approx(0.0009)
    assert left == pytest.approx(0.0991)


def test_a_promise_that_is_lowered_later_leaves_nothing_and_breaks_nothing() -> None:
    """What was granted under the old one is spent; nothing can be promoted any more."""
    trials = [values.make_trial(0), *(judged(number, 0.05) for number in (1, 2))]

    grant = grant_of(Decision(promised=0.001), trials, number=3)

    assert grant.level == 0.0
    assert grant.after(0.0)[1] == pytest.approx(0.0)


@given(st.lists(st.sampled_from(["screened out", "judged", "confirmed"]), max_size=30))
def test_whatever_a_trial_is_granted_was_named_ahead(outcomes: list[str]) -> None:
    """While the trial before it was open, and while that one was being confirmed."""
    decision, trials = Decision(), [values.make_trial(0, verdict=values.make_verdict())]
    for number, outcome in enumerate(outcomes, start=1):
        level = grant_of(decision, trials, number=number).level
        open_ones = [*trials, values.make_trial(number)]
        named = {grant.level for grant in grants_ahead(decision, open_ones)}
        assert level in named
        while_judged = [*trials, judged(number, 0.0 if outcome == "screened out" else level)]
        named_later = {grant.level for grant in grants_ahead(decision, while_judged)}
        trials.append(judged(number, 0.0 if outcome == "screened out" else level, kept=outcome == "confirmed"))

        after = grant_of(decision, trials, number=number + 1).level
        assert after in named
        assert after in named_later


def test_a_question_of_its_own_has_one_level() -> None:
    single = Decision(mode="single")

    assert [grant.level for grant in grants_ahead(single, [values.make_trial(0), values.make_trial(1)])] == [0.05]
