"""What a tracker is told: each run that has ended, and each trial once it is judged.

A body is made from what is stored and never changes again, so telling it twice is telling it once:

| key | meaning |
| --- | --- |
| `id` | the name of the record for good: the run's id, or the campaign's with the trial's number |
| `name`, `group`, `purpose`, `tags` | how the tracker shows it; a trial's tags are its verdict and what became of it |
| `config`, `summary` | values by name |
| `ok` | whether it ended well |
| `started_at`, `ended_at` | seconds since 1970 |
| `metrics` | the metrics file, relative to the home |
"""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.autopilot_plot import fate_of
from pilothouse.campaigns.record import Campaign, Trial
from pilothouse.campaigns.run_record import RunRecord
from pilothouse.canonical import Json
from pilothouse.fleet.stages import Stage
from pilothouse.fleet.wire import finite
from pilothouse.logbook.letter import Kind, Letter


def run_letter(record: RunRecord, *, channel: str, metrics: str | None) -> Letter:
    """Return the letter that tells a tracker of a run; `metrics` is its metrics file, None where there is none."""
    run, last = record.run, record.last
    ok = record.job.stage is Stage.SHIPPED
    outcome = last.outcome.value if last is not None and last.outcome is not None else record.job.stage.value
    summary: dict[str, Json] = dict(last.metrics) if last is not None else {}
    body: dict[str, Json] = {
        "id": run.id,
        "name": run.id,
        "group": f"trial {run.trial}",
        "purpose": record.purpose,
        "tags": [run.campaign, "candidate" if record.proposal is not None else "baseline"],
        "config": {**record.spec.config, "seed": run.seed, "trial": run.trial},
        "summary": {**summary, "outcome": outcome, "seconds": sum(each.seconds or 0.0 for each in record.attempts)},
        "ok": ok,
        "started_at": record.job.created_at.timestamp(),
    }
    if last is not None and last.ended_at is not None:
        body["ended_at"] = last.ended_at.timestamp()
    if metrics is not None:
        body["metrics"] = metrics
    return Letter(
        product=run.product,
        campaign=run.campaign,
        channel=channel,
        # A run that an operator has had made again is told again.
        key=f"run/{run.id}/{record.job.epoch}",
        kind=Kind.RUN,
        body=_finite(body),
    )


def trial_letter(campaign: Campaign, trial: Trial, *, channel: str) -> Letter:
    """Return the letter that tells a tracker what became of a judged trial."""
    assert trial.ended_at is not None, f"trial {trial.number} is told when it is judged"
    stamp = f"{campaign.created_at:%Y%m%dT%H%M%SZ}"
    verdict, confirmation = trial.verdict, trial.confirmation
    summary: dict[str, Json] = dict(trial.metrics)
    summary["fate"] = fate_of(trial).value
    if verdict is not None:
        summary["verdict"] = verdict.as_json()
    if confirmation is not None:
        summary["confirmation"] = confirmation.as_json()
    body: dict[str, Json] = {
        "id": f"{campaign.name}-{stamp}-trial-{trial.number}",
        "name": f"trial {trial.number}: {fate_of(trial).value}",
        "group": f"trial {trial.number}",
        "purpose": "verdict",
        "tags": [campaign.name, fate_of(trial).value, *([verdict.outcome.value] if verdict is not None else [])],
        "config": {**trial.config, "trial": trial.number},
        "summary": summary,
        "ok": True,
        "started_at": _seconds(trial.started_at),
        "ended_at": _seconds(trial.ended_at),
    }
    return Letter(
        product=campaign.product,
        campaign=campaign.name,
        channel=channel,
        key=f"trial/{campaign.name}/{stamp}/{trial.number}",
        kind=Kind.RUN,
        body=_finite(body),
    )


def _seconds(at: datetime) -> float:
    return at.timestamp()


def _finite(body: dict[str, Json]) -> dict[str, Json]:
    """Return the body with numbers that JSON does not know as their texts."""
    return {name: finite(value) for name, value in body.items()}
