"""What the loop has seen of the runs that it waits for, held against the curves of the baseline's finished runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pilothouse.campaigns.action import Await
from pilothouse.campaigns.arms import Ran, values
from pilothouse.campaigns.autopilot import AutopilotFacts, OpenLook, open_look
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.doom import Doom, Finished, doom_of, gives_up
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
        self._total: dict[JobId, int] = {}
        self._finished: dict[ArtifactDigest, Finished | None] = {}

    def doomed(self, tx: Transaction, facts: AutopilotFacts, action: Await) -> dict[JobId, str]:
        """Return why, for each awaited run of the candidate that has no chance left and cannot change its look."""
        look = open_look(self._definition, facts, action.beside)
        if look is None:
            return {}
        ran = [(step, facts.step(step.key)) for step in look.candidate]
        running = [fact.job for _, fact in ran if fact is not None and fact.ended_at is None]
        if not sum(self._look(tx, job) for job in running):
            return {}
        dooms = self._dooms(look, running)
        if len(dooms) < len(running):
            return {}
        name, metric = self._definition.primary()
        ends = [Ran(step=step, fact=fact).value(name) for step, fact in ran if fact is not None and fact.ended_at]
        rival = [value for value in values(look.baseline, name) if math.isfinite(value)]
        hopeless = gives_up(
            look.design,
            baseline=rival,
            candidate=[*ends, *(doom.lucky for doom in dooms.values())],
            direction=metric.better(),
        )
        return {job: doom.why for job, doom in dooms.items()} if hopeless else {}

    def _dooms(self, look: OpenLook, running: Sequence[JobId]) -> dict[JobId, Doom]:
        """Return the doom of each running job that has one."""
        _, metric = self._definition.primary()
        baseline = [run for run in map(self._known, look.baseline) if run is not None]
        dooms = {
            job: doom_of(baseline, self._seen[job], total=self._total[job], direction=metric.better())
            for job in running
            if job in self._total
        }
        return {job: doom for job, doom in dooms.items() if doom is not None}

    def _look(self, tx: Transaction, job: JobId) -> bool:
        """Take in the last sign of life of a run; say whether there is something new."""
        attempts = tx.jobs.attempts(job)
        progress = attempts[-1].progress if attempts else None
        if progress is None or progress.step is None or progress.total is None:
            return False
        name, _ = self._definition.primary()
        value, seen = progress.values.get(name, math.nan), self._seen.setdefault(job, {})
        if not math.isfinite(value) or progress.step in seen:
            return False
        seen[progress.step], self._total[job] = value, progress.total
        return True

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
