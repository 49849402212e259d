"""Advance a ferry: draft when it is due, launch what the gate lets through, watch it to its end, close it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pilothouse.campaigns.action import Admit, Await, Finished, Submit
from pilothouse.campaigns.ferry import Action, DraftFerry, JudgeFerry, ProposePatch, Rest, next_action
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.ferry_record import Monitor
from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.engine.campaign_loop import CampaignLoop, Ending
from pilothouse.engine.loop_events import FerryTold, TrialJudged
from pilothouse.errors import IterationFailed, NotApproved, OperationFailed, PilothouseError, StorageFailed
from pilothouse.ids import JobId, ProposalId
from pilothouse.operations.admit_proposal import admit_proposal, gate_opens, look_at_gate
from pilothouse.operations.draft_proposal import changes_words
from pilothouse.operations.ferry_answer import answer_to, money_refusal, note_unused
from pilothouse.operations.ferry_close import Closing, close_ferry, judge_ferry
from pilothouse.operations.ferry_draft import DraftedFerry, Drafting, draft_ferry, question_for
from pilothouse.operations.ferry_facts import FerryMoment, ferry_facts, material_of
from pilothouse.operations.ferry_launch import launch_ferry, tell_waiting
from pilothouse.operations.ferry_patch import keep_patch, patch_question
from pilothouse.operations.ferry_watch import look_at, look_is_due
from pilothouse.operations.ferry_withdraw import withdraw_proposal
from pilothouse.ports.drafter import Drafter
from pilothouse.ports.patcher import Patcher
from pilothouse.ports.proposer import AskingStopped
from pilothouse.ports.sources import History, Issues
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import State

REST_SECONDS = 1.0
"""How often a loop that rests looks for a tick or an approval, by reading; a change that it is told of wakes it."""
COMMIT_SECONDS = 30.0
"""How long a loop that waits believes the commit of the working folder, since reading it starts git several times.

Before a launch, a draft and an opening of the gate it is read in any case.
"""


class CodeUnread(Exception):
    """Git does not tell what the code is: nothing is decided, and it is asked again at the next look."""


@dataclass(kw_only=True)
class FerryLoop(CampaignLoop[FerryDefinition, Action]):
    """The recurring run. `watcher` owns the monitors of what this loop launches; `wait` says that it stays on.

    `keep` brings commits and seals into the working folder's repository where the file asks for it. `drafter` chooses
    the change where the file lets somebody else than the rules do so, and `patcher` proposes patches of small bugs.
    """

    history: History
    issues: Issues
    watcher: str
    wait: bool
    keep: Callable[[], tuple[str, ...]]
    drafter: Drafter | None = None
    patcher: Patcher | None = None
    _commit: str = ""
    _decided_for: str = ""
    _settled: int = 0
    _read_at: float | None = None
    _waiting: str = ""
    _stop_event: threading.Event = field(default_factory=threading.Event)
    _unpatched: dict[JobId, str] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> Ending:
        """Advance as every loop does; an agent that is being asked hears of the stop as well."""
        self._stop_event = stop
        return super().run(stop)

    def decide(self) -> Action:
        """Return the ferry's next action; a loop that stays on rests while git does not tell what the code is."""
        try:
            return self._decide()
        except CodeUnread as error:
            return Rest(until=None, why=str(error))

    def _decide(self) -> Action:
        moment = FerryMoment(
            commit=self._present_commit(),
            moved=bool(self.overrides),
            wait=self.wait,
            now=self.parts.clock.now(),
            unpatched=self._unpatched,
            settled=self._settled,
        )
        with self.parts.engine.read() as tx:
            facts = ferry_facts(tx, self.definition, self.campaign, self.session, moment)
        self._settled = max((trial.number for trial in facts.trials if trial.state is TrialState.JUDGED), default=0)
        return next_action(self.definition, facts)

    def act(self, action: Action, seen: int) -> Finished | None:
        """Act on one decision; return it when it was the last."""
        try:
            return self._act(action, seen)
        except CodeUnread as error:
            self._rest(str(error), seen)
            return None

    def _act(self, action: Action, seen: int) -> Finished | None:
        """Do it; what was decided for other code is decided again."""
        if isinstance(action, Submit | Stuck) and self._read_commit() != self._decided_for:
            return None
        match action:
            case DraftFerry():
                self._draft(action)
            case Submit():
                self._launch(action)
            case JudgeFerry():
                self._close(action)
            case Await():
                self._watch(action)
                return self.share(action, seen)
            case ProposePatch() | Rest():
                self._bide(action, seen)
            case Admit():
                self._gate(action, seen)
            case Stuck():
                self._tell_waiting(f"{action.reason}; {action.mend}")
                raise IterationFailed(action.reason, fix=action.mend)
            case Finished():
                return self.share(action, seen)
        return None

    def _present_commit(self) -> str:
        now = self.parts.clock.monotonic()
        fresh = self._read_at is not None and now - self._read_at < COMMIT_SECONDS
        self._decided_for = self._commit if fresh else self._read_commit()
        return self._decided_for

    def _read_commit(self) -> str:
        try:
            commit = self.parts.code_commit()
        except OperationFailed as error:
            if not self.wait:
                raise
            raise CodeUnread(f"{error.message}; {error.fix}") from error
        self._commit, self._read_at = commit, self.parts.clock.monotonic()
        return commit

    def _draft(self, action: DraftFerry) -> None:
        """Gather outside the transaction, since git and a forge take their time, and store inside one."""
        ferry = self.definition.ferry
        material = material_of(
            self.parts.engine.read, self.campaign, history=self.history, issues=self.issues, label=ferry.issue_label
        )
        drafting = Drafting(
            number=action.number,
            due=action.due,
            material=material,
            asked=Asked(overrides=self.overrides or None, patch=action.patch),
            template=self.history.read(ferry.template) if ferry.template else None,
            code_commit=self._read_commit(),
            identity=ProposalId(self.mint("proposal")),
            again=True,
        )
        try:
            drafting = self._answered(drafting)
        except AskingStopped:
            return  # It has answered nothing: the next start asks it again.
        now = self.parts.clock.now()

        def act(tx: Transaction) -> DraftedFerry | None:
            if action.over is not None and self._has_yes(tx, action.over, now=now):
                # It came in this very moment, and wins; what an agent was paid meanwhile is paid all the same.
                standing, draft = action.over, drafting.identity
                note_unused(tx, standing, self.campaign, drafting.answered, draft=draft, now=now)
                return None
            return draft_ferry(tx, drafting, definition=self.definition, campaign=self.stored(tx), now=now)

        drafted = self.parts.engine.apply(act)
        if drafted is None:
            return
        self.overrides = {}
        self._keep(self.keep)
        moved = changes_words(drafted.proposal.changes) or "identical rerun"
        self._tell(f"ferry {action.number}: proposed {drafted.ferry.run}: {moved}; {drafted.proposal.rationale}")

    def _answered(self, drafting: Drafting) -> Drafting:
        """Ask outside any transaction, since an agent takes its time."""
        if self.drafter is None:
            return drafting
        with self.parts.engine.read() as tx:
            question = question_for(tx, drafting, definition=self.definition, campaign=self.stored(tx))
            broke = money_refusal(tx, self.definition, self.campaign)
        if question is None:
            return drafting
        self._tell(f"ferry {drafting.number}: asking {self.drafter.source} for a proposal")
        return replace(drafting, answered=answer_to(question, self.drafter, self._stop_event.is_set, broke))

    def _bide(self, action: ProposePatch | Rest, seen: int) -> None:
        if isinstance(action, ProposePatch):
            self._propose_patch(action)
        else:
            self._rest(action.why, seen, failed=action.failed)

    def _propose_patch(self, action: ProposePatch) -> None:
        """Ask outside any transaction and record inside one; who cannot be asked is asked again by the next start."""
        assert self.patcher is not None, "a file that lets an agent patch names one"
        try:
            with self.parts.engine.read() as tx:
                if (broke := money_refusal(tx, self.definition, self.campaign)) is not None:
                    raise broke
                question = patch_question(
                    tx, action, definition=self.definition, campaign=self.campaign, kept=self.patcher.kept
                )
            self._tell(f"ferry {action.number}: asking an agent for a patch of {action.failure.signature}")
            patched = self.patcher.patch(question, self._stop_event.is_set)
        except AskingStopped:
            return
        except StorageFailed:
            raise
        except PilothouseError as error:
            self._unpatched[action.job] = f"no agent could be asked for a patch ({error.message}; {error.fix})"
            return
        if isinstance(patched.refusal, StorageFailed):
            raise patched.refusal
        self.apply(
            lambda tx, now: keep_patch(tx, action, patched, definition=self.definition, campaign=self.campaign, now=now)
        )

    def _has_yes(self, tx: Transaction, proposal: ProposalId, *, now: datetime) -> bool:
        stored = tx.proposals.get(self.campaign.product, proposal)
        return stored is not None and gate_opens(
            tx, stored, definition=self.definition, campaign=self.stored(tx), code_commit=self._commit, now=now
        )

    def _gate(self, action: Admit, seen: int) -> None:
        """Bring the proposal to the gate; a loop that stays on waits there for a yes, and writes nothing meanwhile."""
        try:
            if self.wait:
                self._look_at_gate(action)
            self._admit(action)
        except NotApproved as error:
            if not self.wait:
                raise
            self._rest(f"{error.message}; {error.fix}", seen)

    def _look_at_gate(self, action: Admit) -> None:
        """Raise `NotApproved` where bringing the proposal to the gate would change nothing."""
        with self.parts.engine.read() as tx:
            look_at_gate(
                tx,
                action.proposal,
                definition=self.definition,
                campaign=self.stored(tx),
                code_commit=self._commit,
                now=self.parts.clock.now(),
            )

    def _admit(self, action: Admit) -> None:
        """Let the proposal through, or close what is rejected here: what the gate is asked is the code as it is now."""
        commit = self._read_commit()

        def act(tx: Transaction, now: datetime) -> None:
            admitted = admit_proposal(
                tx,
                action.proposal,
                definition=self.definition,
                campaign=self.stored(tx),
                code_commit=commit,
                now=now,
            )
            stored = tx.proposals.get(self.campaign.product, action.proposal.id)
            if admitted is None and stored is not None and stored.state is State.REJECTED:
                withdraw_proposal(tx, stored, why=stored.refusal, now=now)

        self.apply(act)

    def _launch(self, action: Submit) -> None:
        now = self.parts.clock.now()
        job = self.parts.engine.apply(
            lambda tx: launch_ferry(
                tx, action, definition=self.definition, campaign=self.campaign, watcher=self.watcher, now=now
            )
        )
        self._tell(f"ferry {action.step.spec.trial}: launched {job.id}, watched by {self.watcher}")

    def _watch(self, action: Await) -> None:
        now = self.parts.clock.now()

        def act(tx: Transaction) -> Monitor | None:
            return look_at(tx, action.fact.job, definition=self.definition, campaign=self.campaign, now=now)

        with self.parts.engine.read() as tx:
            monitor_due = look_is_due(tx, self.campaign, self.definition, now=now)
        monitor = self.parts.engine.apply(act) if monitor_due else None
        if monitor is not None:
            self._tell(f"{monitor.run}: {monitor.state}, {monitor.detail}")

    def _close(self, action: JudgeFerry) -> None:
        """Compare outside the transaction, since it reads files, and record inside one."""
        ferry = self.definition.ferry
        with self.parts.engine.read() as tx:
            judgement = judge_ferry(
                tx, action, definition=self.definition, campaign=self.campaign, blobs=self.parts.blobs
            )
        files = {path: text for path in (ferry.template, ferry.recipe) if path and (text := self.history.read(path))}
        now = self.parts.clock.now()
        judged = self.parts.engine.apply(
            lambda tx: close_ferry(
                tx,
                action,
                Closing(judgement=judgement, files=files),
                definition=self.definition,
                campaign=self.campaign,
                now=now,
            )
        )
        self._keep(self.keep)
        self.tell_done(action.facts)
        if judged.trial.verdict is not None:
            moved = self._moved(judged.trial)
            self.parts.tell(TrialJudged(trial=judged.trial, promoted=judged.promoted, changes=moved))
        else:
            word = judgement.failure or "the first ferry is the baseline"
            self._tell(f"ferry {action.number}: {word}")

    def _moved(self, trial: Trial) -> str:
        """Return in words what the ferry's proposal moves, empty for an identical rerun."""
        with self.parts.engine.read() as tx:
            stored = None if trial.proposal is None else tx.proposals.get(self.campaign.product, trial.proposal)
        return "" if stored is None else changes_words(stored.changes)

    def _tell_waiting(self, answer: str) -> None:
        """Post that a failure waits for somebody: an exit code and a line of text are heard by nobody at night."""
        if self.patcher is not None:
            self._keep(self.patcher.keep)
        self.apply(
            lambda tx, now: tell_waiting(tx, definition=self.definition, campaign=self.campaign, answer=answer, now=now)
        )

    def _keep(self, keep: Callable[[], tuple[str, ...]]) -> None:
        """Bring commits and seals into the repository; what git refuses is told, and stops no ferry."""
        try:
            keep()
        except PilothouseError as error:
            self._tell(f"{error.message}; {error.fix}")

    def _rest(self, why: str, seen: int, *, failed: bool = False) -> None:
        """Tell once what is waited for, post it where it is a failure, and wait for news without writing anything."""
        if why != self._waiting:
            self._waiting = why
            if failed:
                self._tell_waiting(why)
            self._tell(why)
        self.parts.engine.wait_change(seen, timeout_seconds=REST_SECONDS)

    def _tell(self, line: str) -> None:
        self.parts.tell(FerryTold(line=line))
