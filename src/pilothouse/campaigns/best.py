"""What holds now: the config that the verdicts have made the baseline, with the evidence for it.

It follows promotions and rollbacks, in their order, and nothing else: no file's time, and no single number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign, Promotion, Run, Trial, TrialState
from pilothouse.canonical import Json, digest
from pilothouse.fleet.wire import finite
from pilothouse.proposals.promotion import Confirmation

FORMAT = 1
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Standing(StrEnum):
    """How sure it is that the config holds."""

    FIRST = "first baseline"
    WAITING = "waits for its confirmation"
    CONFIRMED = "confirmed"
    JUDGED = "improved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The present baseline: its promotion, its trial, and the runs that measured it as the baseline."""

    definition: Definition
    campaign: Campaign
    promotion: Promotion
    trial: Trial
    moves: int
    runs: Sequence[Run]

    @property
    def standing(self) -> Standing:
        """How sure it is."""
        confirmation = self.trial.confirmation
        if self.trial.number == 0:
            return Standing.FIRST
        if self.trial.state is TrialState.CONFIRMING:
            return Standing.WAITING
        if confirmation is not None and confirmation.state is Confirmation.CONFIRMED:
            return Standing.CONFIRMED
        return Standing.JUDGED

    def knobs(self) -> dict[str, Json]:
        """Return the values of the knobs, which is what a person would set."""
        config = self.promotion.config
        return {name: config.get(name, table.default) for name, table in self.definition.knobs.items()}


def best_of(
    definition: Definition,
    campaign: Campaign,
    *,
    trials: Sequence[Trial],
    promotions: Sequence[Promotion],
    runs: Sequence[Run],
) -> Best | None:
    """Return what holds, None while the campaign has no baseline."""
    if not promotions:
        return None
    promotion = promotions[-1]
    trial = next((each for each in trials if each.number == promotion.trial), None)
    assert trial is not None, f"promotion of trial {promotion.trial}, which {campaign.name} has not"
    return Best(
        definition=definition,
        campaign=campaign,
        promotion=promotion,
        trial=trial,
        moves=len(promotions) - 1,
        runs=tuple(runs),
    )


def best_json(best: Best) -> dict[str, Json]:
    """Return the pointer's content; `config` holds the knobs, `complete` everything that a run is given."""
    promotion, trial = best.promotion, best.trial
    name, metric = best.definition.primary()
    values: dict[str, Json] = {
        "format": FORMAT,
        "product": best.campaign.product,
        "campaign": best.campaign.name,
        "trial": promotion.trial,
        "standing": best.standing.value,
        "since": promotion.at.isoformat(),
        "reason": promotion.reason,
        "moves": best.moves,
        "metric": {"name": name, "direction": metric.direction, "value": trial.metrics.get(name)},
        "config": best.knobs(),
        "complete": dict(promotion.config),
        "config_digest": digest(dict(promotion.config)),
        "checkpoint": promotion.checkpoint,
        "verdict": trial.verdict.as_json() if trial.verdict is not None else None,
        "confirmation": trial.confirmation.as_json() if trial.confirmation is not None else None,
        "runs": [run.id for run in best.runs],
    }
    return {key: finite(value) for key, value in values.items()}


def best_toml(best: Best) -> str:
    """Return the knobs as lines to paste into a program's own TOML, under a comment that tells whence they come."""
    at = best.promotion.at.astimezone(UTC)
    lines = [
        (
            f"# What holds in campaign {best.campaign.name} since {at:%Y-%m-%dT%H:%M:%SZ}: "
            f"trial {best.promotion.trial}, {best.standing.value}."
        ),
        *(f"{_toml_key(name)} = {_toml(value)}" for name, value in sorted(best.knobs().items())),
    ]
    return "\n".join(lines) + "\n"


def _toml_key(name: str) -> str:
    """Return a name as one key; a dot in it would make a table."""
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: Json) -> str:
    """Return a value in TOML, whose texts and numbers are JSON's but for the letter DEL."""
    assert not isinstance(value, Mapping | None), f"a knob's value is a scalar, got {value!r}"
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
