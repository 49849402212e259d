"""Find the run folders that an agent is shown: the last trial's, and the baseline's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.record import Run, Trial, TrialState
from pilothouse.campaigns.seeds import Purpose, seed_of
from pilothouse.fleet.stages import Stage
from pilothouse.ids import CampaignName, ProductId
from pilothouse.operations.job_view import run_folder
from pilothouse.ports.store import Transaction

RUNS_READ = 100_000


def last_folder(tx: Transaction, definition: AutopilotDefinition, home: Path) -> Path | None:
    """Return the folder of the newest judged trial's first run, None where none has finished.

    It follows from what is stored alone, so a question that is asked again after a kill is the same one.
    """
    judged = [each for each in _trials(tx, definition) if each.number > 0 and each.state is TrialState.JUDGED]
    if not judged:
        return None
    trial, knobs = judged[-1], definition.knobs
    tried = {name: trial.config.get(name) for name in knobs}

    def is_its_own(run: Run) -> bool:
        """Whether the run is the candidate's, and not one of the baseline beside it."""
        config = tx.jobs.spec(run.job).config
        return run.trial == trial.number and {name: config.get(name) for name in knobs} == tried

    return _folder(tx, definition, home, is_its_own)


def best_folder(tx: Transaction, definition: AutopilotDefinition, home: Path) -> Path | None:
    """Return the folder of the first run that measured the present baseline, None where it lies elsewhere."""
    promotions = tx.campaigns.promotions(*_name(definition))
    if not promotions:
        return None
    first, trial = definition.autopilot.seed, promotions[-1].trial
    low = seed_of(first, trial=trial, purpose=Purpose.ARM, index=0)
    high = seed_of(first, trial=trial, purpose=Purpose.SCREEN, index=0)
    return _folder(tx, definition, home, lambda run: run.trial == trial and low <= run.seed < high)


def _folder(tx: Transaction, definition: AutopilotDefinition, home: Path, wanted: Callable[[Run], bool]) -> Path | None:
    product, name = _name(definition)
    runs = [run for run in tx.campaigns.runs(product, campaign=name, limit=RUNS_READ) if wanted(run)]
    for run in sorted(runs, key=lambda run: (run.seed, run.id)):
        job = tx.jobs.by_id(run.job)
        attempts = tx.jobs.attempts(run.job) if job is not None and job.stage is Stage.SHIPPED else ()
        if attempts:
            return run_folder(home, factory=attempts[-1].factory, folder=attempts[-1].folder)
    return None


def _trials(tx: Transaction, definition: AutopilotDefinition) -> list[Trial]:
    return list(tx.campaigns.trials(*_name(definition)))


def _name(definition: AutopilotDefinition) -> tuple[ProductId, CampaignName]:
    return ProductId(definition.campaign.product), CampaignName(definition.campaign.name)
