"""Each config that became the baseline, as a file of the repository and the message of its commit.

A promotion applies a config, and so does a rollback. The first baseline is what the campaign's file says, so it is no
application. What is written follows from the stored promotion alone, so writing it again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign, Promotion, Trial
from pilothouse.canonical import Json, digest
from pilothouse.fleet.wire import finite
from pilothouse.knobs.delta import effective_delta

FORMAT = 1
SUFFIX = ".applied.json"
KEY_TRAILER = "Pilothouse-Applied"
"""The trailer that names the application; a commit that carries it is looked for before another one is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One application: its key, which is unique for good, the file's text, and the commit's message."""

    key: str
    trial: int
    text: str
    message: str


def applied_file(campaign: str) -> str:
    """Return the name of the file beside the campaign file."""
    return f"{campaign}{SUFFIX}"


def applications(
    definition: Definition, campaign: Campaign, *, trials: Sequence[Trial], promotions: Sequence[Promotion]
) -> list[Applied]:
    """Return every application so far, oldest first."""
    by_number = {trial.number: trial for trial in trials}
    return [_applied(definition, campaign, by_number, promotions, place=place) for place in range(1, len(promotions))]


def _applied(
    definition: Definition,
    campaign: Campaign,
    trials: dict[int, Trial],
    promotions: Sequence[Promotion],
    *,
    place: int,
) -> Applied:
    now, before = promotions[place], promotions[place - 1]
    at = now.at.astimezone(UTC).isoformat(timespec="microseconds")
    key = f"{campaign.product}/{campaign.name}/{place}@{at}"
    back = any(each.trial == now.trial for each in promotions[:place])
    verdict = _verdict(trials.get(before.trial if back else now.trial), back=back)
    knobs = [{name: each.config.get(name) for name in definition.knobs} for each in (before, now)]
    config_digest = digest(dict(now.config))
    content: dict[str, Json] = {
        "format": FORMAT,
        "product": campaign.product,
        "campaign": campaign.name,
        "application": place,
        "applied_at": at,
        "trial": now.trial,
        "rolled_back": before.trial if back else None,
        "verdict": verdict,
        "reason": now.reason,
        "config": knobs[1],
        "complete": dict(now.config),
        "config_digest": config_digest,
    }
    moved = _one_line(", ".join(f"{each.knob} {each.before!r} → {each.after!r}" for each in effective_delta(*knobs)))
    deed = f"Roll back to trial {now.trial}" if back else f"Apply trial {now.trial}"
    trailers = {
        "Pilothouse-Campaign": f"{campaign.product}/{campaign.name}",
        "Pilothouse-Trial": str(now.trial),
        "Pilothouse-Verdict": verdict,
        "Pilothouse-Config": config_digest,
        KEY_TRAILER: key,
    }
    message = [f"{deed} of campaign {campaign.name}", "", f"{moved or 'No knob moves.'}", "", _one_line(now.reason), ""]
    message += [f"{name}: {_one_line(value)}" for name, value in trailers.items()]
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return Applied(key=key, trial=now.trial, text=text, message="\n".join(message) + "\n")


def _verdict(trial: Trial | None, *, back: bool) -> str:
    """Return what decided it: the verdict of the trial that is applied, or the confirmation that took one back."""
    if back and trial is not None and trial.confirmation is not None:
        return trial.confirmation.state.value
    return trial.verdict.outcome.value if trial is not None and trial.verdict is not None else "none"


def _one_line(text: str) -> str:
    """Return a text that can forge no trailer of its own: reasons come from outside."""
    return " ".join(text.split()) or "-"
