"""Advance a flywheel: its golden sets, its proposals, its verdicts over examples."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.action import Finished
from pilothouse.campaigns.flywheel import Action, GoldenDrift, Judge, LockGolden, Propose, next_action
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import Campaign, GoldenSet, Trial
from pilothouse.engine.campaign_loop import CampaignLoop
from pilothouse.engine.loop_events import TrialJudged
from pilothouse.errors import ArtifactDamaged, GoldenSetChanged
from pilothouse.ids import ArtifactDigest, ProposalId
from pilothouse.operations.campaign_facts import flywheel_facts
from pilothouse.operations.draft_proposal import draft_proposal
from pilothouse.operations.judge_trial import Compared, begin_baseline, compare, judge_trial
from pilothouse.operations.samples import read_samples
from pilothouse.ports.store import Transaction


@dataclass(kw_only=True)
class FlywheelLoop(CampaignLoop[FlywheelDefinition, Action]):
    """The loop whose training data grows."""

    def decide(self) -> Action:
        """Return the flywheel's next action."""
        with self.parts.engine.read() as tx:
            return next_action(
                self.definition, flywheel_facts(tx, self.campaign, self.session, moved=bool(self.overrides))
            )

    def act(self, action: Action, seen: int) -> Finished | None:
        """Act on one decision; return it when it was the last."""
        match action:
            case LockGolden():
                self._lock(action)
            case Propose():
                self._propose(action)
            case Judge():
                self._judge(action)
            case GoldenDrift():
                raise _drift(action)
            case _:
                return self.share(action, seen)
        return None

    def _lock(self, action: LockGolden) -> None:
        golden = GoldenSet(
            product=self.campaign.product,
            campaign=self.campaign.name,
            name=action.name,
            digest=action.digest,
            looks=0,
        )
        self.apply(lambda tx, _: tx.campaigns.lock_golden(golden))

    def _propose(self, action: Propose) -> None:
        commit, identity = self.parts.code_commit(), ProposalId(self.mint("proposal"))

        def act(tx: Transaction, now: datetime) -> None:
            draft_proposal(
                tx,
                action,
                definition=self.definition,
                campaign=self.stored(tx),
                overrides=self.overrides,
                code_commit=commit,
                identity=identity,
                now=now,
            )

        self.apply(act)
        self.overrides = {}

    def _judge(self, action: Judge) -> None:
        """Compare outside the transaction, since it reads files, and record inside one."""
        try:
            compared = self._compare(action)
        except ArtifactDamaged as error:
            broken = ArtifactDigest(error.artifact)
            self.apply(lambda tx, now: _mark_damaged(tx, self.campaign, broken, now=now))
            return
        now = self.parts.clock.now()
        judged = self.parts.engine.apply(
            lambda tx: judge_trial(
                tx,
                action,
                definition=self.definition,
                campaign=self.campaign,
                trial=self._trial(tx, action.number, now),
                compared=compared,
                now=now,
            )
        )
        self.tell_done(action.steps)
        self.parts.tell(TrialJudged(trial=judged.trial, promoted=judged.promoted))

    def _compare(self, action: Judge) -> Compared | None:
        if action.baseline is None:
            return None
        _, metric = self.definition.primary()
        assert metric.column is not None, "the definition refuses a primary metric without a column"
        baseline, candidate = (
            read_samples(self.parts.blobs.path(digest), column=metric.column, cluster=self.definition.decision.cluster)
            for digest in (action.baseline, action.samples)
        )
        return compare(self.definition, baseline=baseline, candidate=candidate)

    def _trial(self, tx: Transaction, number: int, now: datetime) -> Trial:
        stored = {trial.number: trial for trial in tx.campaigns.trials(self.campaign.product, self.campaign.name)}
        return stored[number] if number in stored else begin_baseline(self.definition, self.campaign, now=now)


def _mark_damaged(tx: Transaction, campaign: Campaign, digest: ArtifactDigest, *, now: datetime) -> None:
    tx.jobs.mark_damaged(campaign.product, digest, now=now)


def _drift(action: GoldenDrift) -> GoldenSetChanged:
    return GoldenSetChanged(
        f"golden set {action.name!r} was locked at {action.expected[:16]}…, found {action.found[:16]}…"
        if len(action.found) == len(action.expected)
        else f"golden set {action.name!r}, locked at {action.expected[:16]}…, has {action.found}",
        fix="restore it with `pilothouse campaign run FILE --restore-golden` (it must come out the same), "
        "or give the changed set another name",
    )
