"""What a run's folder says: for what it ran, whose config it had, and what really differs from the parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.campaigns.arms import Series, run_step
from pilothouse.campaigns.record import Run, Trial, TrialState
from pilothouse.campaigns.run_record import (
    RunRecord,
    config_diff_json,
    override_json,
    parent_config,
    purpose_words,
    summary_json,
    tries_the_trial,
)
from pilothouse.campaigns.seeds import BLOCK, Purpose, purpose_of, seed_of
from pilothouse.canonical import Json
from pilothouse.fleet.job import JobSpec
from pilothouse.ids import JobId, ProposalId, RunId
from pilothouse.knobs.delta import Change
from pilothouse.proposals.proposal import Proposal
from pilothouse.testing.values import make_job, make_proposal
from tests.campaigns.pilot_world import CAMPAIGN, HERE, PRODUCT, START, pilot_definition
from tests.campaigns.test_applied import FIRST, MOVES, SECOND

DEFINITION = pilot_definition()
TRIAL = Trial(
    product=PRODUCT, campaign=CAMPAIGN, number=1, proposal=ProposalId("proposal-1"), config=SECOND,
    state=TrialState.RUNNING, started_at=START + timedelta(minutes=2), ended_at=None, verdict=None, metrics={},
    seconds={},
)  # fmt: skip


def spec(config: Mapping[str, Json], purpose: Purpose = Purpose.LOOK) -> JobSpec:
    """Return a run of trial 1."""
    return run_step(DEFINITION, HERE, Series(config=config, trial=1, purpose=purpose), 0).spec


def run(seed: int, *, trial: int = 1) -> Run:
    """Return a stored run."""
    return Run(id=RunId("r"), product=PRODUCT, campaign=CAMPAIGN, trial=trial, seed=seed, job=JobId("r"))


def record(
    config: Mapping[str, Json], *, parent: Mapping[str, Json] | None = FIRST, proposal: Proposal | None = None
) -> RunRecord:
    """Return the record of a run that was never claimed."""
    return RunRecord(
        run=run(2000), job=make_job(), spec=spec(config), attempts=(), artifacts=(), incidents=(), purpose="look",
        parent=parent, proposal=proposal,
    )  # fmt: skip


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_seed_tells_its_purpose(purpose: Purpose) -> None:
    """That of each purpose's first and last run, and of no seed between the blocks."""
    for index in (0, 199):
        seed = seed_of(7, trial=3, purpose=purpose, index=index)
        assert purpose_of(7, trial=3, seed=seed) is purpose
    assert purpose_of(7, trial=2, seed=seed_of(7, trial=3, purpose=purpose, index=0)) is None
    assert purpose_of(7, trial=3, seed=7 + 4 * BLOCK - 1) is None


def test_a_run_says_what_it_is_for() -> None:
    """By its seed; one that belongs to no purpose, since the file's first seed was changed, says so."""
    assert purpose_words(DEFINITION, run(BLOCK)) == "look"
    assert purpose_words(DEFINITION, run(BLOCK + Purpose.SCREEN)) == "screen"
    assert purpose_words(DEFINITION, run(5, trial=1)) == "unknown"


def test_a_candidate_s_run_is_told_from_the_baseline_s_beside_it() -> None:
    """By the knobs, whatever mode it runs in; of a rerun of the baseline by the seed."""
    rerun = replace(TRIAL, config=FIRST)

    assert tries_the_trial(DEFINITION, TRIAL, spec(SECOND), purpose="look")
    assert tries_the_trial(DEFINITION, TRIAL, spec({**SECOND, "steps": 10}), purpose="screen")
    assert not tries_the_trial(DEFINITION, TRIAL, spec(FIRST), purpose="look")
    assert tries_the_trial(DEFINITION, rerun, spec(FIRST), purpose="look")
    assert not tries_the_trial(DEFINITION, rerun, spec(FIRST, Purpose.TWIN), purpose="twin")
    assert not tries_the_trial(DEFINITION, replace(TRIAL, proposal=None), spec(SECOND), purpose="arm")
    assert not tries_the_trial(DEFINITION, None, spec(SECOND), purpose="look")


def test_the_parent_is_the_baseline_when_the_trial_began() -> None:
    """Not the one of today, and for the first baseline there is none."""
    late = replace(TRIAL, started_at=START + timedelta(minutes=7))

    assert parent_config(MOVES, TRIAL) == FIRST
    assert parent_config(MOVES, late) == SECOND
    assert parent_config(MOVES, replace(TRIAL, proposal=None)) is None
    assert parent_config(MOVES, None) is None


def test_the_difference_is_exact() -> None:
    """Every value that differs, those included that no proposal set; without a parent there is none."""
    screened = record({**SECOND, "steps": 10})

    assert config_diff_json(screened) == {"lr": {"before": 0.1, "after": 0.2}, "steps": {"before": 1000, "after": 10}}
    assert config_diff_json(record(FIRST)) == {}
    assert config_diff_json(record(SECOND, parent=None)) == {}


def test_the_override_is_what_the_proposal_set() -> None:
    """Which is less than what differs, where a mode or the file's owner has changed more."""
    asked = replace(make_proposal(1), changes=(Change(knob="lr", before=0.1, after=0.2),))

    assert override_json(record({**SECOND, "steps": 10}, proposal=asked)) == {"lr": 0.2}
    assert override_json(record(FIRST)) == {}


def test_a_run_that_was_never_claimed_has_a_summary() -> None:
    """Which names what there is, and invents nothing."""
    summary = summary_json(record(FIRST), None)

    assert summary["outcome"] is summary["timestamp"] is summary["trainer_summary"] is None
    assert (summary["metrics"], summary["attempts"], summary["seconds"]) == ({}, [], 0.0)
