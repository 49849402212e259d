"""What the loop has seen of the runs that it waits for, held against the curves of the baseline's finished runs."""

from __future__ import annotations

import math

from pilothouse.campaigns.action import Await
from pilothouse.campaigns.arms import Ran
from pilothouse.campaigns.autopilot import AutopilotFacts, baseline_arm
from pilothouse.campaigns.definition import AutopilotDefinition
from pilothouse.campaigns.doom import Finished, doom_of
from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.campaigns.steps import Step
from pilothouse.errors import ArtifactDamaged
from pilothouse.ids import ArtifactDigest, JobId
from pilothouse.operations.curves import CURVE, read_curve
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.store import Transaction


class CurveWatch:
    """One start's memory of curves; after a restart it begins anew, which only stops a run later."""

    def __init__(self, definition: AutopilotDefinition, blobs: Blobs) -> None:
        self._definition = definition
        self._blobs = blobs
        self._seen: dict[JobId, dict[int, float]] = {}
        self._finished: dict[ArtifactDigest, Finished | None] = {}

    def doomed(self, tx: Transaction, facts: AutopilotFacts, action: Await) -> dict[JobId, str]:
        """Return why, for each awaited run of the open trial's candidate that has no chance left."""
        trial = next((each for each in facts.trials if each.state is TrialState.RUNNING), None)
        if trial is None:
            return {}
        name, metric = self._definition.primary()
        why: dict[JobId, str] = {}
        for step in action.beside:
            fact = facts.step(step.key)
            total = None if fact is None else self._look(tx, step, fact.job, trial, metric=name)
            if fact is None or total is None:
                continue
            baseline = [run for run in map(self._known, baseline_arm(self._definition, facts)) if run is not None]
            reason = doom_of(baseline, self._seen[fact.job], total=total, direction=metric.better())
            if reason:
                why[fact.job] = reason
        return why

    def _look(self, tx: Transaction, step: Step, job: JobId, trial: Trial, *, metric: str) -> int | None:
        """Take in the last sign of life of a candidate's run; return its last step when there is something new."""
        attempts = tx.jobs.attempts(job) if dict(step.spec.config) == dict(trial.config) else ()
        progress = attempts[-1].progress if attempts else None
        if progress is None or progress.step is None or progress.total is None:
            return None
        value, seen = progress.values.get(metric, math.nan), self._seen.setdefault(job, {})
        if not math.isfinite(value) or progress.step in seen:
            return None
        seen[progress.step] = value
        return progress.total

    def _known(self, run: Ran) -> Finished | None:
        """Return a baseline run's curve, read once; None for one that failed or has left none."""
        artifact = run.fact.artifacts.get(CURVE)
        if run.failure() or artifact is None:
            return None
        if artifact.digest not in self._finished:
            self._finished[artifact.digest] = self._read(run, artifact.digest)
        return self._finished[artifact.digest]

    def _read(self, run: Ran, digest: ArtifactDigest) -> Finished | None:
        name, _ = self._definition.primary()
        try:
            curve = read_curve(self._blobs.path(digest), metric=name)
        except (ArtifactDamaged, OSError):
            return None
        return Finished(curve=curve, final=run.value(name)) if curve else None
