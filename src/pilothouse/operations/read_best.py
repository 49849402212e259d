"""Gather what holds in a campaign now."""

from __future__ import annotations

from pilothouse.campaigns.best import Best, best_of
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign, Run
from pilothouse.campaigns.run_record import purpose_words
from pilothouse.campaigns.seeds import Purpose
from pilothouse.operations.run_records import RUNS_READ
from pilothouse.ports.store import Transaction

_MEASURES = frozenset({Purpose.ARM.name.lower(), "train"})
"""Runs of a trial that measured its config as the baseline; those of a look were chosen by it."""


def read_best(tx: Transaction, campaign: Campaign, definition: Definition) -> Best | None:
    """Return the present baseline with its evidence, None while there is none."""
    product, name = campaign.product, campaign.name
    promotions = tx.campaigns.promotions(product, name)
    if not promotions:
        return None
    runs = tx.campaigns.runs(product, campaign=name, limit=RUNS_READ)
    return best_of(
        definition,
        campaign,
        trials=tx.campaigns.trials(product, name),
        promotions=promotions,
        runs=[run for run in reversed(runs) if _measures(definition, run, trial=promotions[-1].trial)],
    )


def _measures(definition: Definition, run: Run, *, trial: int) -> bool:
    return run.trial == trial and purpose_words(definition, run) in _MEASURES
