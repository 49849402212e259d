"""Look at a running ferry when it is time, keep what was seen, and tell what matters; and hand the monitor over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import Sender, status_letter
from pilothouse.campaigns.ferry_record import Ferry, Monitor
from pilothouse.campaigns.ferry_watch import Seen, Standing, is_due, is_stale, look, progress_words
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import Conflict, NotFound
from pilothouse.fleet.least_step import STEPS_LOST
from pilothouse.ids import JobId, ProductId, RunId
from pilothouse.logbook import ferry_pages as pages
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.ferry_launch import status_of, underway
from pilothouse.operations.ferry_post import post_all, sender_of
from pilothouse.operations.ferry_runs import RUNS_READ
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction


def look_at(
    tx: Transaction, job: JobId, *, definition: FerryDefinition, campaign: Campaign, now: datetime
) -> Monitor | None:
    """Return the monitor after a look at the open ferry's job, None when it is not time yet."""
    open_ferry = underway(tx, campaign)
    stored = tx.jobs.by_id(job)
    if open_ferry is None or stored is None:
        return None
    run = open_ferry.ferry.run
    monitor = tx.ferries.monitor(campaign.product, run)
    watch = definition.ferry.watch
    if monitor is None or not is_due(monitor, watch, now=now):
        return None
    attempts = tx.jobs.attempts(job)
    progress = attempts[-1].progress if attempts else None
    seen = Seen(
        stage=stored.stage,
        step=progress.step if progress is not None else None,
        total=progress.total if progress is not None else None,
        submitted_at=stored.created_at,
    )
    after = look(monitor, seen, watch, now=now)
    tx.ferries.put_monitor(after)
    sender = sender_of(definition, campaign, run)
    post_all(tx, status_letter(sender, status_of(after, now=now)), now=now)
    values = {} if progress is None else {n: v for n, v in progress.values.items() if n in definition.metrics}
    if values and sender.form != "canary":
        text = pages.first_values_text(run=run, progress=progress_words(after), values=values)
        post_all(tx, sender.said("first-evaluation", text, chat=True), now=now)
    if sender.form != "canary":
        _tell_lost_steps(tx, sender, campaign, job, now=now)
    if after.state == Standing.DEGRADED.value != monitor.state and sender.form != "canary":
        text = f"`{run}` is degraded, and has not failed: {after.detail}\n"
        post_all(tx, sender.said(f"degraded-{after.looks}", text, chat=True), now=now)
    return after


def _tell_lost_steps(tx: Transaction, sender: Sender, campaign: Campaign, job: JobId, *, now: datetime) -> None:
    """Post each start of the job below its least step, once."""
    for each in tx.campaigns.incidents(campaign.product, campaign.name):
        if each.job == job and each.diagnosis == STEPS_LOST:
            text = pages.lost_steps_text(run=job, words=each.evidence)
            post_all(tx, sender.said(f"steps-lost-{job}-{each.epoch}", text, chat=True), now=now)


def look_is_due(tx: Transaction, campaign: Campaign, definition: FerryDefinition, *, now: datetime) -> bool:
    """Whether it is time to look at the open ferry; asked often, and answered without a write."""
    open_ferry = underway(tx, campaign)
    monitor = None if open_ferry is None else tx.ferries.monitor(campaign.product, open_ferry.ferry.run)
    return monitor is not None and is_due(monitor, definition.ferry.watch, now=now)


def own_monitor(
    tx: Transaction, product: ProductId, run: RunId, *, owner: str, given_by: str | None, now: datetime
) -> Monitor:
    """Return the monitor under its new owner, on record in the logbook and on the run's issue.

    A run is watched by one owner. Another one takes over by naming whom from, or when nobody has looked for long;
    otherwise it is `Conflict`.
    """
    ferry = tx.ferries.by_run(product, run) or _ferry_of_launch(tx, product, run)
    monitor = None if ferry is None else tx.ferries.monitor(product, ferry.run)
    if ferry is None or monitor is None:
        raise NotFound(
            f"no ferry's run is named {run!r}", fix="`pilothouse run list` shows the runs; a ferry's is watched"
        )
    run = ferry.run
    campaign = tx.campaigns.get(product, ferry.campaign)
    assert campaign is not None, f"ferry {run} has no campaign"
    definition = definition_of(campaign.definition)
    assert isinstance(definition, FerryDefinition), f"campaign {campaign.name} is no ferry's"
    if ferry.closed_at is not None:
        raise Conflict(f"ferry {run} has ended", fix="nothing is left to watch; see `pilothouse logbook show`")
    if monitor.owner == owner:
        return monitor
    stale = is_stale(monitor, definition.ferry.watch, now=now)
    if given_by != monitor.owner and not stale:
        raise Conflict(
            f"{run} is watched by {monitor.owner}",
            fix=f"take it over with `pilothouse run watch {run} --own --from {monitor.owner!r}`, agreed with them",
        )
    after = replace(monitor, owner=owner, taken_at=now)
    tx.ferries.put_monitor(after)
    signal = f"{monitor.state}, {monitor.detail or 'not looked at yet'}" + (", gone stale" if stale else "")
    entry = NewEntry(
        label=f"{run}: the monitor is handed over",
        hypothesis="none: a change of owner",
        command="",
        config="",
        result=f"from {monitor.owner} to {owner}; last seen: {signal}",
        interpretation="one owner watches a run to its end",
        next_action=f"{owner} watches {run}",
        confidence="exploratory",
    )
    record_entry(tx, entry, product=product, thread=ferry.campaign, now=now)
    sender = sender_of(definition, campaign, run)
    if sender.form != "canary":
        text = pages.handover_text(run=run, before=monitor.owner, after=owner, signal=signal)
        post_all(tx, sender.said(f"handover-{now:%Y%m%dT%H%M%SZ}", text), now=now)
        post_all(tx, status_letter(sender, status_of(after, now=now)), now=now)
    return after


def _ferry_of_launch(tx: Transaction, product: ProductId, run: RunId) -> Ferry | None:
    """Return the ferry that was launched again under this name."""
    known = tx.campaigns.runs(product, campaign=None, limit=RUNS_READ)
    launch = next((each for each in known if each.id == run), None)
    ferries = () if launch is None else tx.ferries.listed(product, launch.campaign)
    return next((each for each in ferries if launch is not None and each.number == launch.trial), None)
