"""Advance an autopilot: ask for proposals, bring them to the gate, judge their runs, move the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from pilothouse.campaigns.action import Await, Finished
from pilothouse.campaigns.autopilot import Action, Ask, Confirm, JudgeRuns, KeepFloor, Withdraw, next_action
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.steps import StepFact
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.engine.campaign_loop import CampaignLoop
from pilothouse.engine.curve_watch import CurveWatch
from pilothouse.engine.loop_events import (
    BaselineKept,
    LoopEvent,
    ProposalRefused,
    RunDoomed,
    TrialConfirmed,
    TrialJudged,
)
from pilothouse.errors import IterationFailed
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.ids import JobId, ProposalId
from pilothouse.operations.admit_proposal import recheck_open_trial
from pilothouse.operations.autopilot_facts import Moment, autopilot_facts, search_of
from pilothouse.operations.calibrate import conditions_of, stored_floors
from pilothouse.operations.draft_proposal import changes_words
from pilothouse.operations.judge_runs import confirm_trial, judge_runs
from pilothouse.operations.keep_floor import keep_floor
from pilothouse.operations.keep_suggestion import Suggested, keep_suggestion
from pilothouse.operations.stop_doomed import stop_doomed
from pilothouse.operations.submit_step import withdraw_waiting
from pilothouse.ports.proposer import Proposer
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Risk, State
from pilothouse.proposals.search import Suggestion

CONDITIONS_SECONDS = 2.0
"""How long the commit of the working folder is believed; reading it starts git."""


@dataclass(kw_only=True)
class AutopilotLoop(CampaignLoop[AutopilotDefinition, Action]):
    """The loop that proposes by itself. `hardware` is this machine's class, which a noise floor holds for."""

    proposer: Proposer
    hardware: str
    _shipped: dict[str, StepFact] = field(default_factory=dict)
    _commit: str = ""
    _read_at: float | None = None
    _calibrated: Conditions | None = None
    _floors_read: bool = False
    _curves: CurveWatch = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no curve seen."""
        self._curves = CurveWatch(self.definition, self.parts.blobs)

    def decide(self) -> Action:
        """Return the autopilot's next action."""
        self._present_commit()
        with self.parts.engine.read() as tx:
            return next_action(
                self.definition,
                autopilot_facts(tx, self.definition, self.campaign, self.session, self._moment(tx)),
            )

    def act(self, action: Action, seen: int) -> Finished | None:
        """Act on one decision; return it when it was the last."""
        match action:
            case KeepFloor():
                self._keep(action)
            case Withdraw():
                self.apply(lambda tx, now: withdraw_waiting(tx, campaign=self.campaign, now=now))
            case Ask():
                return self._ask(action)
            case JudgeRuns():
                self._close(lambda tx, now: self._judge(tx, action, now))
            case Confirm():
                self._close(lambda tx, now: self._confirm(tx, action, now))
            case Stuck():
                raise IterationFailed(action.reason, fix=action.mend)
            case Await():
                self._watch(action)
                return self.share(action, seen)
            case _:
                return self.share(action, seen)
        return None

    def _watch(self, action: Await) -> None:
        """Stop the candidate's runs that have no chance left."""
        if not self.definition.autopilot.stop_doomed:
            return
        with self.parts.engine.read() as tx:
            doomed = self._curves.doomed(
                tx, autopilot_facts(tx, self.definition, self.campaign, self.session, self._moment(tx)), action
            )
        for job, why in doomed.items():
            self._close(partial(self._stop, job=job, why=why))

    def _stop(self, tx: Transaction, now: datetime, *, job: JobId, why: str) -> LoopEvent | None:
        stopped = stop_doomed(tx, self.campaign, job, why=why, now=now)
        return RunDoomed(job=job, why=why) if stopped else None

    def _present_commit(self) -> str:
        """Return the commit of the working folder; when it has changed, what was approved under another is void."""
        now = self.parts.clock.monotonic()
        if self._read_at is not None and now - self._read_at < CONDITIONS_SECONDS:
            return self._commit
        commit = self.parts.code_commit()
        if self._read_at is not None and commit != self._commit:
            self.apply(lambda tx, _: recheck_open_trial(tx, self.definition, self.stored(tx), code_commit=commit))
        self._commit, self._read_at = commit, self.parts.clock.monotonic()
        return commit

    def _moment(self, tx: Transaction) -> Moment:
        """Return what the loop knows besides the store."""
        if not self._floors_read:
            floors = stored_floors(tx, self.campaign)
            self._calibrated, self._floors_read = (floors[0].conditions if floors else None), True
        stop = self.definition.autopilot.stop.file
        return Moment(
            conditions=conditions_of(tx, self.definition, self.campaign, code=self._commit, hardware=self.hardware),
            calibrated=self._calibrated,
            shipped=self._shipped,
            moved=bool(self.overrides),
            stop_asked=stop is not None and Path(stop).exists(),
            now=self.parts.clock.now(),
        )

    def _keep(self, action: KeepFloor) -> None:
        commit = self._commit

        def act(tx: Transaction, now: datetime) -> LoopEvent:
            campaign = self.stored(tx)
            conditions = conditions_of(tx, self.definition, campaign, code=commit, hardware=self.hardware)
            keep_floor(tx, action, definition=self.definition, campaign=campaign, conditions=conditions, now=now)
            return BaselineKept(floor=stored_floors(tx, campaign)[0], runs=len(action.runs))

        self.tell_done(tuple((run.step, run.fact) for run in action.runs))
        self._close(act)
        self._floors_read = False

    def _ask(self, action: Ask) -> Finished | None:
        """Ask outside a transaction, since a proposer may take long, and keep the answer inside one."""
        with self.parts.engine.read() as tx:
            search = search_of(tx, self.definition, self.stored(tx))
        suggestion = self._by_hand() if self.overrides else self.proposer.propose(search)
        self.overrides = {}
        if suggestion is None:
            return self.share(Finished(reason="the proposer has nothing left to try", final=True), 0)
        suggested = Suggested(
            number=action.number,
            suggestion=suggestion,
            code_commit=self.parts.code_commit(),
            identity=ProposalId(self.mint("proposal")),
        )

        def act(tx: Transaction, now: datetime) -> LoopEvent | None:
            kept = keep_suggestion(tx, suggested, definition=self.definition, campaign=self.stored(tx), now=now)
            return ProposalRefused(proposal=kept) if kept.state is State.REJECTED else None

        self._close(act)
        return None

    def _by_hand(self) -> Suggestion:
        """Return the knob values that a person set at the start, as a proposal."""
        name, _ = self.definition.primary()
        words = ", ".join(f"{knob} = {value!r}" for knob, value in self.overrides.items())
        return Suggestion(
            overrides=dict(self.overrides),
            source="person",
            rationale=f"a person set {words}",
            hypothesis=f"{name} improves on the baseline",
            why_not_identical=words,
            risk=Risk.LOW,
            rollback="the baseline stays unless the verdict is improved and fresh runs confirm it",
        )

    def _judge(self, tx: Transaction, action: JudgeRuns, now: datetime) -> LoopEvent:
        judged = judge_runs(tx, action, definition=self.definition, campaign=self.campaign, now=now)
        proposals = tx.proposals.listed(self.campaign.product, self.campaign.name)
        changes = next((each.changes for each in proposals if each.id == judged.trial.proposal), ())
        return TrialJudged(trial=judged.trial, promoted=judged.promoted, changes=changes_words(changes))

    def _confirm(self, tx: Transaction, action: Confirm, now: datetime) -> LoopEvent:
        judged = confirm_trial(tx, action, definition=self.definition, campaign=self.campaign, now=now)
        return TrialConfirmed(trial=judged.trial, kept=judged.promoted)

    def _close(self, act: Callable[[Transaction, datetime], LoopEvent | None]) -> None:
        """Run one act as one transaction, and tell what it was after the commit."""
        now = self.parts.clock.now()
        event = self.parts.engine.apply(lambda tx: act(tx, now))
        if event is not None:
            self.parts.tell(event)
