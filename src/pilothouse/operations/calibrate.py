"""Keep a noise floor in the campaign's logbook, and find the last one again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.calibration import Replicated
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.error_rate import grant_of
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json, digest
from pilothouse.errors import BadValue
from pilothouse.evidence.noise_floor import Conditions, NoiseFloor, measure_floor
from pilothouse.evidence.power import SEEDS_MOST
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction

EVIDENCE = "noise_floors"


def conditions_of(
    tx: Transaction, definition: Definition, campaign: Campaign, *, code: str, hardware: str
) -> Conditions:
    """Return what a noise floor measured now would hold for: the code, the hardware class, and data with its config."""
    golden = {each.name: each.digest for each in tx.campaigns.golden_sets(campaign.product, campaign.name)}
    return Conditions(code=code, hardware=hardware, data=digest(_data(definition, campaign, golden)))


def _data(definition: Definition, campaign: Campaign, golden: Mapping[str, str]) -> dict[str, Json]:
    """Return the data that runs are trained and judged on, with what else they are given.

    A flywheel's floor is that of one config. Over seeds each new baseline is measured by its own runs, so the floor
    outlives a promotion.
    """
    fixed = definition.trainer.fixed_values()
    if isinstance(definition, FlywheelDefinition):
        return {
            "golden": definition.evaluation(golden),
            "first_seed": definition.flywheel.first_seed,
            "seeds": definition.flywheel.seeds_per_iteration,
            "config": {**fixed, **campaign.config},
        }
    return {"command": list(definition.trainer.command), "config": dict(fixed), "knobs": sorted(definition.knobs)}


def floors_of(definition: Definition, found: Replicated, *, conditions: Conditions) -> list[NoiseFloor]:
    """Return the noise floor of every promised metric; a replicate that failed counts as failed in each."""
    failures = [math.nan] * found.failed
    # A proposal of a stream is judged at its share of the promise, which finds far less than one question would.
    over_seeds = isinstance(definition, AutopilotDefinition)
    level = grant_of(definition.decision, (), number=1).level if over_seeds else definition.decision.alpha
    return [
        measure_floor(
            name,
            [*(metrics[name] for metrics in found.metrics), *failures],
            alpha=level,
            conditions=conditions,
        )
        for name in definition.metrics
    ]


def record_floors(
    tx: Transaction, floors: Sequence[NoiseFloor], *, definition: Definition, campaign: Campaign, now: datetime
) -> None:
    """Append the floors to the campaign's thread."""
    primary, metric = definition.primary()
    floor = next(each for each in floors if each.metric == primary)
    interest = metric.smallest_effect_of_interest
    needed = f"; {seeds_words(floor, interest)} seeds per arm find {interest:g}" if interest > 0 else ""
    body = NewEntry(
        label=f"calibration: {floor.replicates} replicates",
        hypothesis="none: this measures how much the metrics move when only the seed does",
        command=" ".join(definition.trainer.command),
        config=", ".join(f"{name}={value}" for name, value in sorted(campaign.config.items())),
        result="; ".join(f"{each.metric} {each.mean:.6g} ± {each.sigma:.3g}" for each in floors),
        interpretation=(
            f"the noise floor of {primary} is {floor.sigma:.4g} [{floor.sigma_low:.4g}, {floor.sigma_high:.4g}]; the "
            f"smallest effect that 8 seeds per arm find in four of five cases at {floor.alpha:.2g} is "
            f"{floor.detectable:.4g}{needed}"
        ),
        next_action="calibrate again when code, hardware class or data change",
        confidence="replicated",
        evidence={EVIDENCE: [floor_json(each) for each in floors]},
    )
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)


def seeds_words(floor: NoiseFloor, effect: float) -> str:
    """Return how many seeds an effect needs, in words; that there are too many to count is an answer as well."""
    try:
        return str(floor.seeds_for(effect))
    except BadValue:
        return f"more than {SEEDS_MOST}"


def stored_floors(tx: Transaction, campaign: Campaign) -> list[NoiseFloor]:
    """Return the noise floors that were measured last; none where the campaign was never calibrated."""
    for entry in reversed(tx.entries.thread(campaign.product, campaign.name)):
        stored = entry.body.evidence.get(EVIDENCE)
        if isinstance(stored, Sequence) and not isinstance(stored, str):
            return [_read(each) for each in stored]
    return []


def floor_json(floor: NoiseFloor) -> dict[str, Json]:
    """Return the floor as JSON values."""
    return asdict(floor)


def _read(value: Json) -> NoiseFloor:
    fields = _table(value)
    conditions = _table(fields.get("conditions"))
    return NoiseFloor(
        metric=str(fields.get("metric")),
        replicates=int(_number(fields, "replicates")),
        failed=int(_number(fields, "failed")),
        mean=_number(fields, "mean"),
        sigma=_number(fields, "sigma"),
        sigma_low=_number(fields, "sigma_low"),
        sigma_high=_number(fields, "sigma_high"),
        detectable=_number(fields, "detectable"),
        alpha=_number(fields, "alpha"),
        conditions=Conditions(
            code=str(conditions.get("code")),
            hardware=str(conditions.get("hardware")),
            data=str(conditions.get("data")),
        ),
    )


def _table(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise BadValue(f"a stored noise floor is {value!r}", fix="calibrate again")
    return value


def _number(fields: Mapping[str, Json], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"a stored noise floor has {name} = {value!r}", fix="calibrate again")
    return float(value)
