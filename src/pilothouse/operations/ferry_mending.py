"""What a person needs to mend a small bug, whether an agent has proposed a patch or not."""

from __future__ import annotations

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_failure import Failure, FailureClass
from pilothouse.campaigns.ferry_record import Ferry
from pilothouse.campaigns.ferry_trace import last_place
from pilothouse.campaigns.record import Campaign
from pilothouse.ids import JobId
from pilothouse.logbook.entry import NewEntry
from pilothouse.logbook.ferry_pages import Mending
from pilothouse.operations.ferry_facts import admitted
from pilothouse.operations.ferry_runs import evidence_of
from pilothouse.ports.store import Transaction


def mending_of(
    tx: Transaction, definition: FerryDefinition, campaign: Campaign, ferry: Ferry, failure: Failure, job: JobId
) -> Mending | None:
    """Return what mends a small bug, None for a failure of another kind."""
    if failure.kind is not FailureClass.SMALL_BUG:
        return None
    place = last_place(evidence_of(tx.campaigns.incidents(campaign.product, campaign.name), job))
    return Mending(
        place="the log tells no file" if place is None else f"{place.file}, line {place.line}",
        commit=admitted(tx, campaign, ferry.number).subject.code_commit.partition("+")[0],
        command=" ".join(definition.trainer.command),
        job=job,
        relaunch=f"commit the mend and run the campaign: the relaunch of {ferry.run} is proposed with the same config, "
        "wants a yes to the new commit, and goes on from the last checkpoint; the same failure again goes to a person",
    )


def mending_entry(failure: Failure, mending: Mending, answer: str) -> NewEntry:
    """Return the record of a small bug that waits for its mend."""
    return NewEntry(
        label=f"{mending.job}: waits for a patch",
        hypothesis="none: a small bug",
        command=mending.command,
        config="",
        result=f"{failure.signature}; {mending.place}, on commit {mending.commit}",
        interpretation=answer,
        next_action=mending.relaunch,
        confidence="exploratory",
        evidence={"job": mending.job, "commit": mending.commit, "place": mending.place, "failure": failure.signature},
    )
