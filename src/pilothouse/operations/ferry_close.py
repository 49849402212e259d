"""Close a ferry: verdict, record, promotion, closure and seal, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from pilothouse.campaigns.ferry import JudgeFerry
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_judging import (
    Judgement,
    failure_of_end,
    held_back_by,
    inaugural,
    worse_of,
)
from pilothouse.campaigns.ferry_letters import (
    closing_letters,
    judged_of,
    log_text,
    promotion_letters,
    seal_of,
    status_letter,
)
from pilothouse.campaigns.ferry_record import Ferry
from pilothouse.campaigns.ferry_template import baseline_block, moved_words, with_baseline, with_defaults
from pilothouse.campaigns.ferry_watch import Standing
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Outcome, Verdict
from pilothouse.fleet.stages import Stage
from pilothouse.logbook import ferry_pages as pages
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.ferry_compare import Sides, compare_ferries
from pilothouse.operations.ferry_facts import admitted, links_of
from pilothouse.operations.ferry_launch import status_of, tell_failure, underway
from pilothouse.operations.ferry_post import post_all, sender_of
from pilothouse.operations.ferry_runs import FerryRuns, runs_of
from pilothouse.operations.judge_trial import Judged, config_words
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What a closure needs besides the store: the judgement, and the files of the repository that may change."""

    judgement: Judgement
    files: Mapping[str, str]


def judge_ferry(
    tx: Transaction, action: JudgeFerry, *, definition: FerryDefinition, campaign: Campaign, blobs: Blobs
) -> Judgement:
    """Return what is made of a ferry that has ended; it only reads."""
    after = runs_of(tx, campaign, action.number)
    if action.failure is not None:
        why = f"{action.failure.kind.value}: {action.failure.signature}; {action.why}"
        return Judgement(failure=why, measured=after.measured)
    failure, checks = failure_of_end(definition, after.measured)
    before = _counted(tx, campaign, before=action.number)
    if failure:
        return Judgement(failure=failure, checks=checks, measured=after.measured)
    if not before:
        return inaugural(after.measured, checks)
    rival = before[-1]
    base = _base(tx, campaign, before)
    key = _verdicts(tx, definition, campaign, blobs, rival, after)
    against = key if base.number == rival.number else _verdicts(tx, definition, campaign, blobs, base, after)
    worse = worse_of(
        definition.ferry.reliability, before=runs_of(tx, campaign, base.number).measured, after=after.measured
    )
    held = held_back_by(against, worse)
    return Judgement(
        failure="",
        checks=checks,
        key=key,
        against_baseline=against,
        worse=worse,
        promoted=not held,
        held_back=held,
        rival=rival.run,
        base=base.run,
        measured=after.measured,
    )


def close_ferry(
    tx: Transaction,
    action: JudgeFerry,
    closing: Closing,
    *,
    definition: FerryDefinition,
    campaign: Campaign,
    now: datetime,
) -> Judged:
    """Store and publish the end of a ferry; one that is closed already is not closed again."""
    open_ferry = underway(tx, campaign)
    assert open_ferry is not None, f"ferry {action.number} of {campaign.name} is closed already"
    judgement, trial = closing.judgement, open_ferry.trial
    runs = runs_of(tx, campaign, action.number)
    proposal = admitted(tx, campaign, action.number)
    judged = replace(
        trial,
        state=TrialState.JUDGED,
        ended_at=now,
        verdict=judgement.key[0] if judgement.key else None,
        metrics=runs.measured.metrics,
        seconds={"train": runs.measured.own["seconds"]},
        failure=judgement.failure,
    )
    tx.campaigns.put_trial(judged)
    commit = proposal.subject.code_commit
    form = definition.ferry.form
    ferry = replace(
        open_ferry.ferry,
        judged=judgement.as_json(),
        closed_at=now,
        seal="" if judgement.failure else seal_of(open_ferry.ferry, form=form, commit=commit),
    )
    tx.ferries.put(ferry)
    if not judgement.failure:
        _apply(tx, definition, campaign, judged, judgement, now=now)
    ended = pages.Ended(
        run=ferry.run,
        campaign=campaign.name,
        number=ferry.number,
        commit=commit,
        judged=judged_of(ferry),
        jobs=runs.jobs,
        ended_at=now,
        next_action=_next_of(ferry, changed=bool(proposal.changes)),
        changes=tuple(f"{each.knob}: {each.before} → {each.after}" for each in proposal.changes),
        links=links_of(tx, ferry),
    )
    record_entry(tx, _entry(definition, judged, ended), product=campaign.product, thread=campaign.name, now=now)
    _publish(tx, action, closing, ended, ferry, definition=definition, campaign=campaign, now=now)
    return Judged(trial=judged, promoted=judgement.promoted)


def _counted(tx: Transaction, campaign: Campaign, *, before: int) -> list[Ferry]:
    """Return the closed ferries that count, by number."""
    return [
        ferry
        for ferry in tx.ferries.listed(campaign.product, campaign.name)
        if ferry.number < before and ferry.judged is not None and not ferry.judged["failure"]
    ]


def _base(tx: Transaction, campaign: Campaign, counted: list[Ferry]) -> Ferry:
    """Return the ferry that the baseline came from."""
    moved = tx.campaigns.promotions(campaign.product, campaign.name)[-1].trial
    return next(ferry for ferry in counted if ferry.number == moved)


def _verdicts(
    tx: Transaction, definition: FerryDefinition, campaign: Campaign, blobs: Blobs, rival: Ferry, after: FerryRuns
) -> tuple[Verdict, ...]:
    sides = Sides(before=runs_of(tx, campaign, rival.number).shipped, after=after.shipped)
    return compare_ferries(definition, blobs, sides)


def _apply(
    tx: Transaction,
    definition: FerryDefinition,
    campaign: Campaign,
    trial: Trial,
    judgement: Judgement,
    *,
    now: datetime,
) -> None:
    """Make the ferry's config the one that the next ferry starts from, and the baseline where it was promoted."""
    knobs = {name: trial.config[name] for name in definition.knobs}
    tx.campaigns.configure(campaign.product, campaign.name, config=knobs)
    if judgement.promoted:
        reason = "the first ferry is the first baseline" if not judgement.key else "most key metrics have improved"
        tx.campaigns.add_promotion(
            Promotion(
                product=campaign.product,
                campaign=campaign.name,
                trial=trial.number,
                checkpoint=None,
                samples=None,
                config=trial.config,
                reason=reason,
                at=now,
            )
        )


def _publish(
    tx: Transaction,
    action: JudgeFerry,
    closing: Closing,
    ended: pages.Ended,
    ferry: Ferry,
    *,
    definition: FerryDefinition,
    campaign: Campaign,
    now: datetime,
) -> None:
    sender = sender_of(definition, campaign, ferry.run)
    evidence = ""
    if action.failure is not None:
        failed = next(fact for _, fact in action.facts if fact.stage is not Stage.SHIPPED)
        evidence = tell_failure(
            tx, sender, campaign, action.failure, ferry=ferry, job=failed.job, answer=action.why, now=now
        )
    monitor = tx.ferries.monitor(campaign.product, ferry.run)
    if monitor is not None:
        last = replace(monitor, state=Standing.ENDED.value, detail=pages.verdict_word(ended.judged), looked_at=now)
        tx.ferries.put_monitor(last)
        post_all(tx, status_letter(sender, status_of(last, now=now)), now=now)
    letters = closing_letters(
        sender,
        ended,
        entry=pages.log_entry(ended, seal=ferry.seal),
        log=_log(tx, campaign),
        seal=ferry.seal,
        evidence=evidence,
    )
    post_all(tx, letters, now=now)
    if closing.judgement.promoted and closing.judgement.key:
        files = _files(definition, closing, ended, campaign, tx)
        moved = _moved(tx, definition, campaign)
        post_all(tx, promotion_letters(sender, replace(ended, changes=moved), files), now=now)


def _moved(tx: Transaction, definition: FerryDefinition, campaign: Campaign) -> tuple[str, ...]:
    """Return what the newest promotion moves against the one before it."""
    before, after = (
        {name: value for name, value in each.config.items() if name in definition.knobs}
        for each in tx.campaigns.promotions(campaign.product, campaign.name)[-2:]
    )
    return moved_words(before, after)


def _files(
    definition: FerryDefinition, closing: Closing, ended: pages.Ended, campaign: Campaign, tx: Transaction
) -> dict[str, str]:
    """Return the template and the recipe as the promotion leaves them, where it changes them."""
    stored = tx.campaigns.get(campaign.product, campaign.name)
    assert stored is not None, f"campaign {campaign.name} is being closed"
    ferry, config = definition.ferry, stored.config
    block = baseline_block(run=ended.run, config=config, metrics=closing.judgement.measured.metrics)
    made: dict[str, str] = {}
    if ferry.template in closing.files:
        made[ferry.template] = with_defaults(closing.files[ferry.template], config)
    if ferry.recipe in closing.files:
        made[ferry.recipe] = with_baseline(closing.files[ferry.recipe], name=campaign.name, block=block)
    return {path: text for path, text in made.items() if text != closing.files[path]}


def _log(tx: Transaction, campaign: Campaign) -> str:
    """Return the log of every closed ferry, from what is stored."""
    entries = [
        pages.log_entry(_ended_of(tx, campaign, ferry), seal=ferry.seal)
        for ferry in reversed(tx.ferries.listed(campaign.product, campaign.name))
        if ferry.closed_at is not None
    ]
    return log_text(campaign.name, entries)


def _ended_of(tx: Transaction, campaign: Campaign, ferry: Ferry) -> pages.Ended:
    assert ferry.closed_at is not None, f"ferry {ferry.run} is still open"
    proposal = admitted(tx, campaign, ferry.number)
    judged = judged_of(ferry)
    return pages.Ended(
        run=ferry.run,
        campaign=campaign.name,
        number=ferry.number,
        commit=proposal.subject.code_commit,
        judged=judged,
        jobs=runs_of(tx, campaign, ferry.number).jobs,
        ended_at=ferry.closed_at,
        next_action=_next_of(ferry, changed=bool(proposal.changes)),
        changes=tuple(f"{each.knob}: {each.before} → {each.after}" for each in proposal.changes),
    )


def _entry(definition: FerryDefinition, trial: Trial, ended: pages.Ended) -> NewEntry:
    """Say the ferry in the logbook's terms."""
    verdict = trial.verdict
    judged = ended.judged
    table = "\n".join(
        [
            *pages.comparison_table(cast("list[Mapping[str, Json]]", judged["key"]), str(judged["rival"])),
            *pages.checks_table(cast("list[Mapping[str, Json]]", judged["checks"])),
        ]
    )
    moved = "the baseline moves to this ferry" if judged["promoted"] else f"the baseline stays: {judged['held_back']}"
    return NewEntry(
        label=f"ferry {trial.number}, {ended.run}: {pages.verdict_word(judged)}",
        hypothesis="; ".join(ended.changes) or "an identical rerun: the whole of it still works",
        command=" ".join(definition.trainer.command),
        config=config_words(trial.config),
        result=table or "; ".join(f"{name} {value:.6g}" for name, value in trial.metrics.items()) or "nothing",
        interpretation=f"it does not count: {trial.failure}"
        if trial.failure
        else f"{moved}. {verdict.scope if verdict else ''}",
        next_action=ended.next_action,
        confidence=verdict.confidence.value if verdict is not None else "exploratory",
        evidence={"ferry": dict(judged), "jobs": list(ended.jobs), "commit": ended.commit, "proposal": trial.proposal},
    )


def _next_of(ferry: Ferry, *, changed: bool) -> str:
    """Return what comes after a closed ferry."""
    judged, number = judged_of(ferry), ferry.number
    if judged["failure"]:
        return f"a person looks at it; ferry {number + 1} repeats the last good config, to confirm"
    if judged["promoted"]:
        return f"ferry {number + 1} starts from this config, which is the baseline"
    key = cast("list[Mapping[str, Json]]", judged["key"])
    if changed and key and key[0]["outcome"] == Outcome.REGRESSED.value:
        return f"ferry {number + 1} takes back what this one changed, unless more is to be won elsewhere"
    return f"ferry {number + 1} starts from this config; the baseline stays"
