"""What a person finds on disk about one run that has ended: the texts of its folder, made from what is stored.

The folder is a view. Everything in it but the program's own output follows from the values here, so it can be thrown
away and made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Incident, Promotion, Run, Trial
from pilothouse.campaigns.seeds import Purpose, purpose_of
from pilothouse.canonical import Json, digest
from pilothouse.fleet.job import Artifact, Attempt, Job, JobSpec
from pilothouse.fleet.wire import finite
from pilothouse.knobs.delta import effective_delta
from pilothouse.proposals.proposal import Proposal

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run that has ended, with what its folder is made from.

    `parent` is the config that was the baseline when the run's trial began, None before there was any. `proposal` is
    that of the trial where this run tried it, None for a run of the baseline.
    """

    run: Run
    job: Job
    spec: JobSpec
    attempts: Sequence[Attempt]
    artifacts: Sequence[Artifact]
    incidents: Sequence[Incident]
    purpose: str
    parent: Mapping[str, Json] | None
    proposal: Proposal | None

    @property
    def last(self) -> Attempt | None:
        """The newest attempt, None for a run that was never claimed."""
        return self.attempts[-1] if self.attempts else None


def override_json(record: RunRecord) -> dict[str, Json]:
    """Return what the proposal set; nothing for a run of the baseline."""
    changes = record.proposal.changes if record.proposal is not None else ()
    return {change.knob: change.after for change in changes}


def config_diff_json(record: RunRecord) -> dict[str, Json]:
    """Return every value that differs from the parent's, before and after, those included that no proposal set.

    A run of the first baseline has no parent, and differs from nothing.
    """
    parent = record.spec.config if record.parent is None else record.parent
    return {
        change.knob: {"before": change.before, "after": change.after}
        for change in effective_delta(parent, record.spec.config)
    }


def summary_json(record: RunRecord, trainer_summary: Json) -> dict[str, Json]:
    """Return the run's summary; `trainer_summary` is the program's own, None where it is not at hand.

    A number that JSON does not know stands as its text.
    """
    last, run = record.last, record.run
    values: dict[str, Json] = {
        "format": FORMAT,
        "run_id": run.id,
        "product": run.product,
        "campaign": run.campaign,
        "trial": run.trial,
        "seed": run.seed,
        "purpose": record.purpose,
        "proposal": record.proposal.id if record.proposal is not None else None,
        "source": record.proposal.source if record.proposal is not None else None,
        "created_at": record.job.created_at.isoformat(),
        "timestamp": last.ended_at.isoformat() if last is not None and last.ended_at is not None else None,
        "stage": record.job.stage.value,
        "outcome": last.outcome.value if last is not None and last.outcome is not None else None,
        "detail": last.detail if last is not None else "",
        "exit_code": last.exit_code if last is not None else None,
        "epoch": record.job.epoch,
        "attempts": [_attempt(each) for each in record.attempts],
        "seconds": sum(each.seconds or 0.0 for each in record.attempts),
        "metrics": dict(last.metrics) if last is not None else {},
        "config_digest": digest(dict(record.spec.config)),
        "config_diff": config_diff_json(record),
        "artifacts": [
            {"name": each.name, "digest": each.digest, "bytes": each.size_bytes} for each in record.artifacts
        ],
        "incidents": [
            {"at": each.at.isoformat(), "diagnosis": each.diagnosis, "response": each.response}
            for each in record.incidents
        ],
        "trainer_summary": trainer_summary,
    }
    return {name: finite(value) for name, value in values.items()}


def parent_config(promotions: Sequence[Promotion], trial: Trial | None) -> Mapping[str, Json] | None:
    """Return the config that was the baseline when the trial began; None for the first baseline's own trial."""
    if trial is None or trial.proposal is None:
        return None
    before = [promotion for promotion in promotions if promotion.at <= trial.started_at]
    return before[-1].config if before else None


def purpose_words(definition: Definition, run: Run) -> str:
    """Return what the run is for: `look`, `arm`, `screen` or `twin` of an autopilot, `train` of a flywheel."""
    if not isinstance(definition, AutopilotDefinition):
        return "train"
    purpose = purpose_of(definition.autopilot.seed, trial=run.trial, seed=run.seed)
    return purpose.name.lower() if purpose is not None else "unknown"


def tries_the_trial(definition: Definition, trial: Trial | None, spec: JobSpec, *, purpose: str) -> bool:
    """Whether a run has the trial's own config, rather than that of the baseline beside it.

    The runs that measure the baseline again beside a rerun of itself have its config as well: their seeds tell.
    """
    if trial is None or trial.proposal is None or purpose == Purpose.TWIN.name.lower():
        return False
    return all(spec.config.get(name) == trial.config.get(name) for name in definition.knobs)


def _attempt(attempt: Attempt) -> dict[str, Json]:
    return {
        "epoch": attempt.epoch,
        "factory": attempt.factory,
        "folder": attempt.folder,
        "outcome": attempt.outcome.value if attempt.outcome is not None else None,
        "seconds": attempt.seconds,
        "peak_memory_mb": attempt.peak_memory_mb,
    }
