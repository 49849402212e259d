"""Advance an autopilot: ask for proposals, bring them to the gate, judge their runs, move the baseline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from pilothouse.campaigns.action import Await, Finished
from pilothouse.campaigns.autopilot import Action, Ask, Confirm, JudgeRuns, KeepFloor, Withdraw, next_action
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.steps import StepFact
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.engine.campaign_loop import CampaignLoop, Ending
from pilothouse.engine.curve_watch import CurveWatch
from pilothouse.engine.design_ahead import DesignAhead
from pilothouse.engine.loop_events import (
    AgentAsked,
    BaselineKept,
    LoopEvent,
    ProposalRefused,
    RunDoomed,
    TrialConfirmed,
    TrialJudged,
)
from pilothouse.errors import IterationFailed, StorageFailed
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.ids import JobId, ProposalId
from pilothouse.operations.admit_proposal import recheck_open_trial
from pilothouse.operations.autopilot_facts import Moment, autopilot_facts, search_of
from pilothouse.operations.calibrate import conditions_of, stored_floors
from pilothouse.operations.draft_proposal import changes_words
from pilothouse.operations.judge_runs import confirm_trial, judge_runs
from pilothouse.operations.keep_floor import keep_floor
from pilothouse.operations.keep_suggestion import Suggested, keep_suggestion, not_taken
from pilothouse.operations.stop_doomed import stop_doomed
from pilothouse.operations.submit_step import withdraw_waiting
from pilothouse.ports.proposer import Answered, Answering, AskingStopped, Proposer, answer_of
from pilothouse.ports.store import Transaction
from pilothouse.proposals.agent_run import AgentTold
from pilothouse.proposals.proposal import BY_HAND, Proposal, Risk, State
from pilothouse.proposals.search import Search, Suggestion

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
    _designs: DesignAhead = field(init=False)
    _stop_event: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Begin with no curve seen."""
        self._curves = CurveWatch(self.definition, self.parts.blobs)
        self._designs = DesignAhead(self.definition.decision)

    def run(self, stop: threading.Event) -> Ending:
        """Advance as every loop does; an agent that is being asked hears of the stop as well."""
        self._stop_event = stop
        return super().run(stop)

    def decide(self) -> Action:
        """Return the autopilot's next action."""
        self._present_commit()
        with self.parts.engine.read() as tx:
            facts = autopilot_facts(tx, self.definition, self.campaign, self.session, self._moment(tx))
            action = next_action(self.definition, facts)
        if isinstance(action, Await):
            self._designs.look(facts.trials)
        return action

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
        return Moment(
            conditions=conditions_of(tx, self.definition, self.campaign, code=self._commit, hardware=self.hardware),
            calibrated=self._calibrated,
            shipped=self._shipped,
            moved=bool(self.overrides),
            stop_asked=self._stop_file_is_there(),
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
        """Ask outside a transaction, since a proposer may take long, and keep the answer inside one.

        An agent that is stopped has answered nothing: the next start asks it again.
        """
        with self.parts.engine.read() as tx:
            search = search_of(tx, self.definition, self.stored(tx))
        try:
            answered = self._answer(search, action.number)
        except AskingStopped:
            return None
        self.overrides = {}
        if answered.suggestion is None and answered.refusal is None:
            return self.share(Finished(reason="the proposer has nothing left to try", final=True), 0)
        commit = self.parts.code_commit()
        every = [
            Suggested(
                number=action.number,
                suggestion=suggestion,
                code_commit=commit,
                identity=ProposalId(self.mint("proposal")),
                told=told,
                refusal=refusal,
            )
            for suggestion, told, refusal in _kept_of(answered)
        ]
        refused: list[Proposal] = []

        def act(tx: Transaction, now: datetime) -> None:
            campaign = self.stored(tx)
            kept = [keep_suggestion(tx, each, definition=self.definition, campaign=campaign, now=now) for each in every]
            refused[:] = [each for each in kept if each.state is State.REJECTED]

        self.apply(act)
        for proposal in refused:
            self.parts.tell(ProposalRefused(proposal=proposal))
        return None

    def _answer(self, search: Search, number: int) -> Answered:
        """Return what the proposer answers, or what a person has set at the start."""
        if self.overrides:
            return Answered(suggestion=self._by_hand())
        if isinstance(self.proposer, Answering):
            self.parts.tell(AgentAsked(number=number))
        answered = answer_of(self.proposer, search, self._shall_stop)
        if isinstance(answered.refusal, StorageFailed):
            raise answered.refusal  # A disk that fails is no answer, and asking again would pay again.
        return answered

    def _shall_stop(self) -> bool:
        """Whether a person wants the loop to end, by a signal or by the stop file."""
        return self._stop_event.is_set() or self._stop_file_is_there()

    def _stop_file_is_there(self) -> bool:
        stop = self.definition.autopilot.stop.file
        return stop is not None and Path(stop).exists()

    def _by_hand(self) -> Suggestion:
        """Return the knob values that a person set at the start, as a proposal."""
        name, _ = self.definition.primary()
        words = ", ".join(f"{knob} = {value!r}" for knob, value in self.overrides.items())
        return Suggestion(
            overrides=dict(self.overrides),
            source=BY_HAND,
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


def _kept_of(answered: Answered) -> Iterator[tuple[Suggestion, AgentTold | None, str]]:
    """Yield what becomes a proposal: an agent's answer that was not taken, then the suggestion that there is."""
    if answered.refusal is not None:
        yield not_taken(answered.source), answered.told, f"{answered.refusal.message}; {answered.refusal.fix}"
    if answered.suggestion is not None:
        yield answered.suggestion, answered.told if answered.refusal is None else None, ""
