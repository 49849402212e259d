"""Gather what a ferry's loop decides from, and what its proposals are drafted from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile

from pilothouse.campaigns.ferry import DRIFT_MINUTES, FerryFacts, steps_of
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import request_name
from pilothouse.campaigns.ferry_record import Ferry
from pilothouse.campaigns.record import Campaign, Trial, TrialState
from pilothouse.errors import PilothouseError
from pilothouse.ids import JobId
from pilothouse.logbook.letter import GITHUB
from pilothouse.operations.admit_proposal import gate_opens
from pilothouse.operations.campaign_facts import SECONDS_PER_HOUR, Session, step_facts
from pilothouse.operations.draft_proposal import subject_of
from pilothouse.operations.ferry_patches import patches_of
from pilothouse.operations.ferry_runs import failures_of
from pilothouse.operations.ferry_withdraw import revision_of
from pilothouse.ports.sources import History, Issues
from pilothouse.ports.store import Transaction
from pilothouse.proposals.gate import DRIFTED, drift
from pilothouse.proposals.proposal import Proposal, State
from pilothouse.proposals.window import Commits, IncidentSeen, IssueSeen, LastFerry, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryMoment:
    """What the loop knows besides the store: the commit of the working folder, whether it waits, the time.

    `unpatched` tells by failed launch why no agent could be asked for a patch. `settled` is the number of a ferry that
    is known to be closed: what lies long before it changes nothing any more.
    """

    commit: str
    moved: bool
    wait: bool
    now: datetime
    settled: int = 0
    unpatched: Mapping[JobId, str] = field(default_factory=dict)


def ferry_facts(
    tx: Transaction, definition: FerryDefinition, campaign: Campaign, session: Session, moment: FerryMoment
) -> FerryFacts:
    """Return the facts of a campaign as this transaction sees them; of several proposals of a ferry the last counts."""
    product, name = campaign.product, campaign.name
    least = max(0, moment.settled - KEPT)
    trials, ferries = tx.campaigns.trials(product, name, least=least), tx.ferries.listed(product, name, least=least)
    proposals = tx.proposals.listed(product, name, least=least)
    newest = {each.number: each for each in proposals}
    known = {ferry.number: ferry for ferry in ferries}
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    keys = [step.key for trial in running for step in steps_of(definition, trial, known[trial.number])]
    return FerryFacts(
        step=step_facts(tx, product),
        trials=trials,
        promotions=(),  # no decision of a ferry's loop looks at them, and there may be hundreds
        proposals=newest,
        spent_hours=tx.jobs.seconds_spent(product, campaign=name) / SECONDS_PER_HOUR,
        since=session.since,
        trials_max=session.trials_max,
        moved=moment.moved,
        drifted=any(_has_drifted(tx, definition, campaign, newest[trial.number], moment) for trial in running),
        ferries=ferries,
        failures={key: failures_of(tx, campaign, key) for key in keys},
        opened_at=campaign.created_at,
        now=moment.now,
        drifts=drifts_lately(proposals, now=moment.now),
        wait=moment.wait,
        agents_usd=tx.agents.spent(product, name).usd,
        patches={**_patches(tx, campaign, running), **moment.unpatched},
        approved=_is_approved(tx, definition, campaign, newest[max(newest)], moment) if newest else False,
    )


def _patches(tx: Transaction, campaign: Campaign, running: Sequence[Trial]) -> dict[JobId, str]:
    """Return what became of the patches of the ferry that sails; those of earlier ones decide nothing any more."""
    return patches_of(tx, campaign, least=running[0].number) if running else {}


def _is_approved(
    tx: Transaction, definition: FerryDefinition, campaign: Campaign, proposal: Proposal, moment: FerryMoment
) -> bool:
    """Whether the gate would open for the newest proposal, as far as reading can tell."""
    return definition.ferry.schedule is not None and gate_opens(
        tx, proposal, definition=definition, campaign=campaign, code_commit=moment.commit, now=moment.now
    )


def _has_drifted(
    tx: Transaction, definition: FerryDefinition, campaign: Campaign, proposal: Proposal, moment: FerryMoment
) -> bool:
    now = subject_of(tx, definition, campaign, config=proposal.config, code_commit=moment.commit)
    return bool(drift(proposal.subject, now))


KEPT = 10
"""Closed ferries that are read before the newest; the last one decides, the others tell whose clock was wrong."""
_LATELY = timedelta(minutes=DRIFT_MINUTES)


def drifts_lately(proposals: Sequence[Proposal], *, now: datetime) -> int:
    """Return how many proposals drifted within the last minutes, since one was let through: by then it held still."""
    since_yes = takewhile(lambda each: each.state is not State.ADMITTED, reversed(proposals))
    return sum(_drifted(each) and abs(now - each.created_at) < _LATELY for each in since_yes)


def _drifted(proposal: Proposal) -> bool:
    return proposal.state is State.REJECTED and proposal.refusal.startswith(DRIFTED)


def last_ferry(tx: Transaction, campaign: Campaign, *, before: int) -> LastFerry | None:
    """Return the newest closed ferry, whatever came of it; None for the first."""
    closed = [
        ferry
        for ferry in tx.ferries.listed(campaign.product, campaign.name)
        if ferry.judged is not None and ferry.number < before
    ]
    if not closed:
        return None
    ferry = closed[-1]
    trial = next(each for each in tx.campaigns.trials(campaign.product, campaign.name) if each.number == ferry.number)
    proposal = admitted(tx, campaign, ferry.number)
    return LastFerry(
        number=ferry.number,
        run=ferry.run,
        commit=proposal.subject.code_commit,
        changes=proposal.changes,
        outcome=trial.verdict.outcome if trial.verdict is not None else None,
        failure=trial.failure,
        metrics=trial.metrics,
        links=links_of(tx, ferry),
    )


def admitted(tx: Transaction, campaign: Campaign, number: int) -> Proposal:
    """Return the newest proposal of a ferry that passed the gate."""
    return next(
        each
        for each in reversed(tx.proposals.listed(campaign.product, campaign.name))
        if each.number == number and each.state is State.ADMITTED
    )


def links_of(tx: Transaction, ferry: Ferry) -> dict[str, str]:
    """Return where a ferry's pages stand outside, as far as they have arrived there."""
    found: dict[str, str] = {}
    request = request_name(max(1, revision_of(ferry)))
    for name, key in (("issue", "issue"), ("proposal", request), ("log", "log")):
        posted = tx.outbox.by_key(ferry.product, GITHUB, f"{ferry.run}/{key}")
        url = posted.answer.get("url") if posted is not None else None
        if isinstance(url, str):
            found[name] = url
    return found if not ferry.seal else {**found, "seal": ferry.seal}


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What was found outside the store for a proposal."""

    commits: Commits
    issues: tuple[IssueSeen, ...]
    issues_from: str
    guidance: str = ""


def material_of(
    read: Callable[[], AbstractContextManager[Transaction]],
    campaign: Campaign,
    *,
    history: History,
    issues: Issues,
    label: str,
    guidance: str = "",
) -> Material:
    """Return what has happened outside since the last ferry; asked outside any transaction, since it may take long.

    Commits are counted from the last ferry's commit by ancestry. Issues that cannot be read are none, which is said: a
    forge that is away keeps no ferry in port.
    """
    with read() as tx:
        last = last_ferry(tx, campaign, before=_EVERY)
        ferries = tx.ferries.listed(campaign.product, campaign.name)
    since = next((each.drafted_at for each in ferries if last is not None and each.number == last.number), None)
    try:
        found, issues_from = issues.labelled(label, since=since), issues.name
    except PilothouseError as error:
        found, issues_from = (), f"{issues.name} could not be read: {error.message}"
    return Material(
        commits=history.since(last.commit if last is not None else ""),
        issues=found,
        issues_from=issues_from,
        guidance=guidance,
    )


_EVERY = 1 << 31
"""Beyond the number of any ferry."""


def window_of(tx: Transaction, campaign: Campaign, material: Material, *, number: int) -> Window:
    """Return everything that the proposal of this ferry is drafted from."""
    last = last_ferry(tx, campaign, before=number)
    previous = next(
        (each for each in tx.ferries.listed(campaign.product, campaign.name) if last and each.number == last.number),
        None,
    )
    incidents = [
        IncidentSeen(run=each.job, diagnosis=each.diagnosis, detail=each.response, at=each.at)
        for each in tx.campaigns.incidents(campaign.product, campaign.name)
        if previous is None or each.at >= previous.drafted_at
    ]
    return Window(
        last=last,
        commits=material.commits,
        issues=material.issues,
        issues_from=material.issues_from,
        incidents=tuple(incidents),
        guidance=material.guidance,
    )
