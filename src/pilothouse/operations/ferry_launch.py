"""Launch a ferry's run: one job under the ferry's own name, its monitor, its issue, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.action import Submit
from pilothouse.campaigns.ferry import steps_of
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_failure import Failure
from pilothouse.campaigns.ferry_letters import Sender, canary_letters, launch_letters, status_letter
from pilothouse.campaigns.ferry_record import Ferry, Monitor, job_name
from pilothouse.campaigns.record import Campaign, Trial, TrialState
from pilothouse.fleet.job import Job
from pilothouse.ids import JobId
from pilothouse.logbook import ferry_pages as pages
from pilothouse.logbook.letter import GITHUB
from pilothouse.operations.ferry_facts import admitted
from pilothouse.operations.ferry_mending import mending_entry, mending_of
from pilothouse.operations.ferry_post import post_all, sender_of
from pilothouse.operations.ferry_runs import evidence_of, failed_jobs, failures_of, runs_of
from pilothouse.operations.record_entry import record_entry
from pilothouse.operations.submit_step import submit_step
from pilothouse.ports.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """The open ferry of a campaign."""

    trial: Trial
    ferry: Ferry


def underway(tx: Transaction, campaign: Campaign) -> Underway | None:
    """Return the ferry that is admitted and not judged yet."""
    running = [
        trial for trial in tx.campaigns.trials(campaign.product, campaign.name) if trial.state is TrialState.RUNNING
    ]
    if not running:
        return None
    known = {ferry.number: ferry for ferry in tx.ferries.listed(campaign.product, campaign.name)}
    return Underway(trial=running[0], ferry=known[running[0].number])


def launch_ferry(
    tx: Transaction, action: Submit, *, definition: FerryDefinition, campaign: Campaign, watcher: str, now: datetime
) -> Job:
    """Return the run's job; launched twice it is the same one, and published once."""
    open_ferry = underway(tx, campaign)
    assert open_ferry is not None, f"a step of {campaign.name} is launched without an admitted ferry"
    ferry, trial = open_ferry.ferry, open_ferry.trial
    keys = [step.key for step in steps_of(definition, trial, ferry)]
    job = submit_step(tx, action, campaign=campaign, job=_free_name(tx, ferry, action, keys), now=now)
    sender = sender_of(definition, campaign, ferry.run)
    if tx.ferries.monitor(campaign.product, ferry.run) is None:
        monitor = Monitor(product=campaign.product, run=ferry.run, owner=watcher, taken_at=now)
        tx.ferries.put_monitor(monitor)
        launched = _launched(tx, definition, campaign, open_ferry, watcher=watcher)
        post_all(tx, launch_letters(sender, launched), now=now)
        post_all(tx, status_letter(sender, status_of(monitor, now=now)), now=now)
    elif action.generation > 0:
        _tell_relaunch(tx, sender, campaign, ferry, key=action.step.key, job=job, now=now)
    return job


def _free_name(tx: Transaction, ferry: Ferry, action: Submit, keys: list[str]) -> JobId:
    """Return the name of a launch; a patch in the file itself makes another step, whose first is a later launch."""
    index, generation = keys.index(action.step.key), action.generation
    while tx.jobs.by_id(name := job_name(ferry.run, index=index, generation=generation)) is not None:
        generation += 1
    return name


def tell_failure(
    tx: Transaction,
    sender: Sender,
    campaign: Campaign,
    failure: Failure,
    *,
    ferry: Ferry,
    job: JobId,
    answer: str,
    now: datetime,
    mending: pages.Mending | None = None,
) -> str:
    """Post how a job of the ferry failed, with its evidence, once, and return the text.

    It is a major incident, so the chat hears of it; a canary's goes into the issue that it opens.
    """
    incidents = tx.campaigns.incidents(campaign.product, campaign.name)
    text = pages.incident_text(
        run=sender.run,
        kind=failure.kind.value,
        signature=failure.signature,
        detail=failure.detail,
        answer=answer,
        evidence=evidence_of(incidents, job),
        mending=mending,
    )
    if sender.form != "canary":
        post_all(tx, sender.said(_incident(tx, campaign, ferry, job), text, chat=True), now=now)
    return text


def tell_waiting(
    tx: Transaction, *, definition: FerryDefinition, campaign: Campaign, answer: str, now: datetime
) -> None:
    """Post that the open ferry has failed and waits for somebody; where none has, nothing is posted."""
    open_ferry = underway(tx, campaign)
    if open_ferry is None:
        return
    keys = [step.key for step in steps_of(definition, open_ferry.trial, open_ferry.ferry)]
    failed = [(job.number, job.id, key) for key in keys for job in failed_jobs(tx, campaign, key)]
    if not failed:
        return
    _, job, key = max(failed)
    sender = sender_of(definition, campaign, open_ferry.ferry.run)
    failure = failures_of(tx, campaign, key)[-1]
    mending = mending_of(tx, definition, campaign, open_ferry.ferry, failure, job)
    posted = "issue" if sender.form == "canary" else _incident(tx, campaign, open_ferry.ferry, job)
    name = f"{sender.run}/{posted}"
    if mending is not None and tx.outbox.by_key(campaign.product, GITHUB, name) is None:
        entry = mending_entry(failure, mending, answer)
        record_entry(tx, entry, product=campaign.product, thread=campaign.name, now=now)
    text = tell_failure(
        tx, sender, campaign, failure, ferry=open_ferry.ferry, job=job, answer=answer, now=now, mending=mending
    )
    if sender.form == "canary":
        post_all(tx, canary_letters(sender, text), now=now)


def _tell_relaunch(
    tx: Transaction, sender: Sender, campaign: Campaign, ferry: Ferry, *, key: str, job: Job, now: datetime
) -> None:
    """Post what a relaunch answers; where the failure was told already, only that it was answered."""
    failed, failure = failed_jobs(tx, campaign, key)[-1], failures_of(tx, campaign, key)[-1]
    answer = f"launched again as `{job.id}`"
    told = tx.outbox.by_key(campaign.product, GITHUB, f"{ferry.run}/{_incident(tx, campaign, ferry, failed.id)}")
    if told is None:
        tell_failure(tx, sender, campaign, failure, ferry=ferry, job=failed.id, answer=answer, now=now)
    else:
        post_all(tx, sender.said(f"relaunch-{job.id}", f"`{ferry.run}` is {answer}.\n", chat=True), now=now)


def _incident(tx: Transaction, campaign: Campaign, ferry: Ferry, job: JobId) -> str:
    """Return the name of the comment on a job's failure: by the place of its launch among the ferry's."""
    return f"incident-{runs_of(tx, campaign, ferry.number).jobs.index(job) + 1}"


def status_of(monitor: Monitor, *, now: datetime) -> str:
    """Return the sticky block of a run."""
    return pages.status_text(
        state=monitor.state,
        detail=monitor.detail or "launched",
        watched_by=monitor.owner,
        at=now,
    )


def _launched(
    tx: Transaction, definition: FerryDefinition, campaign: Campaign, open_ferry: Underway, *, watcher: str
) -> pages.Launched:
    proposal = admitted(tx, campaign, open_ferry.trial.number)
    admission = tx.waivers.admission(campaign.product, proposal.id)
    return pages.Launched(
        run=open_ferry.ferry.run,
        campaign=campaign.name,
        number=open_ferry.trial.number,
        proposal=proposal.id,
        approver=admission.approver if admission is not None else "nobody on record",
        commit=proposal.subject.code_commit,
        config=open_ferry.trial.config,
        command=" ".join(definition.trainer.command),
        watched_by=watcher,
        goal=definition.campaign.goal,
    )
