"""A campaign's status is derived: ready, running, failed or done, with what to do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from pilothouse.campaigns.record import Campaign, Halt, Owner, Trial, TrialState
from pilothouse.campaigns.status import CampaignState, Current, Snapshot, eta_seconds, state_of, status_json
from pilothouse.fleet.job import Attempt, JobSpec, Progress
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, FactoryName
from pilothouse.testing import values
from tests.campaigns.world import CAMPAIGN, PRODUCT, START, little_definition, trial

NOW = START + timedelta(seconds=100)
OWNER = Owner(host="here", pid=7, started=1.0, boot="b")


def campaign(*, halt: Halt | None = None, owner: Owner | None = None) -> Campaign:
    """Return a stored campaign."""
    return Campaign(
        product=PRODUCT,
        name=CAMPAIGN,
        kind="flywheel",
        definition=little_definition().model_dump(mode="json"),
        definition_digest="",
        config={},
        created_at=START,
        owner=owner,
        halt=halt,
        last_error="it broke" if halt is Halt.FAILED else "",
        next_action="mend it" if halt is not None else "",
    )


def snapshot(
    stored: Campaign, *, alive: bool = False, current: Current | None = None, trials: tuple[Trial, ...] = ()
) -> Snapshot:
    """Return a snapshot without promotions."""
    return Snapshot(
        campaign=stored,
        trials=trials,
        promotions=(),
        golden=(),
        current=current,
        awaiting_approval=None,
        owner_alive=alive,
    )


def current(kind: str, progress: Progress | None) -> Current:
    """Return a job that has run for ten seconds."""
    job = values.make_job(stage=Stage.BUILDING, epoch=1, created_at=START)
    attempt = Attempt(
        job=job.id,
        epoch=job.epoch,
        factory=FactoryName("f"),
        boot=BootId("b"),
        folder="runs/job-1/attempt-1",
        claimed_at=START,
        started_at=NOW - timedelta(seconds=10),
        ended_at=None,
        pid=9,
        pid_started=1.0,
        progress=progress,
        progress_at=None,
        outcome=None,
        detail="",
        exit_code=None,
        metrics={},
        seconds=None,
        peak_memory_mb=None,
    )
    spec = JobSpec(kind=kind, command=("x",), config={}, seed=0, campaign="little", trial=2)
    return Current(job=job, spec=spec, attempt=attempt)


@pytest.mark.parametrize(
    ("halt", "alive", "state"),
    [
        (None, False, CampaignState.READY),
        (None, True, CampaignState.RUNNING),
        (Halt.FAILED, False, CampaignState.FAILED),
        (Halt.DONE, False, CampaignState.DONE),
        (Halt.FAILED, True, CampaignState.RUNNING),
    ],
)
def test_the_state_is_what_the_owner_and_the_halt_say(halt: Halt | None, alive: bool, state: CampaignState) -> None:
    """A dead owner leaves no `running` behind that somebody would have to edit away."""
    seen = snapshot(campaign(halt=halt, owner=OWNER), alive=alive)

    assert state_of(seen) is state


def test_the_status_has_every_promised_field() -> None:
    """Scripts read these names."""
    told = status_json(snapshot(campaign(halt=Halt.FAILED)), now=NOW, best_checkpoint=None)

    assert {"campaign", "kind", "state", "iterations", "best_checkpoint", "last_error", "next_action"} <= told.keys()
    assert (told["last_error"], told["next_action"]) == ("it broke", "mend it")
    assert told["metrics"] == {"gap": "min"}


def test_the_eta_extrapolates_the_step_and_remembers_the_later_ones() -> None:
    """Ten seconds for 20 of 60 steps leave twenty, and evaluating took five last time."""
    judged = replace(trial(1, TrialState.JUDGED), seconds={"train": 99.0, "evaluate": 5.0, "overhead": 1.0})
    seen = snapshot(campaign(), trials=(judged,), current=current("train", Progress(step=20, total=60, values={})))

    assert eta_seconds(seen, now=NOW) == pytest.approx(25.0)


def test_without_progress_the_last_iteration_tells_the_eta() -> None:
    """A step that has not reported takes as long as it did."""
    judged = replace(trial(1, TrialState.JUDGED), seconds={"train": 40.0, "evaluate": 5.0})

    assert eta_seconds(snapshot(campaign(), trials=(judged,), current=current("train", None)), now=NOW) == 45.0
    assert eta_seconds(snapshot(campaign(), current=current("train", None)), now=NOW) is None


def test_a_running_campaign_tells_who_and_what() -> None:
    """Host, pid, step and total stand in the status."""
    seen = snapshot(campaign(owner=OWNER), alive=True, current=current("train", Progress(step=3, total=9, values={})))

    told = status_json(seen, now=NOW, best_checkpoint="/blobs/x")

    assert told["owner"] == {"host": "here", "pid": 7, "started": 1.0}
    now_running = cast("dict[str, object]", told["current"])
    assert (now_running["step"], now_running["done"], now_running["total"]) == ("train", 3, 9)
    assert told["eta_seconds"] == pytest.approx(20.0)


def test_without_a_living_owner_nothing_runs() -> None:
    """A killed owner leaves a job `building`, but no pid and no running seconds are told of it."""
    seen = snapshot(campaign(owner=OWNER), current=current("train", Progress(step=3, total=9, values={})))

    now_lying = cast("dict[str, object]", status_json(seen, now=NOW, best_checkpoint=None)["current"])

    assert (now_lying["step"], now_lying["pid"], now_lying["seconds"]) == ("train", None, None)


def test_what_to_do_next_is_said_as_the_person_calls_it() -> None:
    """A home of its own belongs into the hint, or the hint leads into another, empty one."""
    told = status_json(snapshot(campaign()), now=NOW, best_checkpoint=None, command="pilothouse --home there")

    assert told["next_action"] == "go on: pilothouse --home there campaign run FILE"
