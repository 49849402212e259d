"""The steps of a loop as content-addressed jobs.

A step's key is the digest of its command, config, seed and the keys of the steps that feed it, so a step that was done
is found again and never done twice. The outputs' own digests guard their bytes; they do not enter the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.sections import Step as StepTable
from pilothouse.canonical import Json, digest
from pilothouse.fleet.job import Artifact, JobSpec, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, JobId

_LAUNCH = re.compile(r".*#(?P<generation>[0-9]+)(~[0-9]+)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One job that the loop wants, with the promises it must keep. `key` lacks the generation."""

    key: str
    spec: JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFact:
    """What is known of a step: the newest job that was submitted for it.

    `generation` counts the jobs of the step from 0; a new one is submitted when an output was damaged, or when a
    person starts a failed campaign again.
    """

    job: JobId
    generation: int
    stage: Stage
    outcome: Outcome | None = None
    detail: str = ""
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 0
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """An input of a step: the step that made it, and the sealed folder."""

    key: str
    digest: ArtifactDigest


def launch_key(step: str, generation: int) -> str:
    """Return the key of a step's job of this generation."""
    return f"{step}#{generation}"


def generation_of(key: str) -> int | None:
    """Return the generation of a step's job, None for the key of any other job: a child of one, or a person's."""
    found = _LAUNCH.fullmatch(key)
    return None if found is None else int(found["generation"])


def make_step(
    definition: Definition,
    *,
    kind: str,
    table: StepTable,
    config: Mapping[str, Json],
    trial: int,
    feeds: Mapping[str, tuple[Feed, ...]],
    artifacts: tuple[str, ...],
    metrics: tuple[str, ...] = (),
    seed: int,
    conditions: str = "",
) -> Step:
    """Return the step with its key; the same arguments always give the same key.

    `conditions` names what a result holds for besides (code, hardware class): where that matters, a step that was done
    under other conditions is another step.
    """
    identity: dict[str, Json] = {
        "kind": kind,
        "command": list(table.command),
        "config": dict(config),
        "seed": seed,
        "feeds": {name: [feed.key for feed in made] for name, made in feeds.items()},
        "conditions": conditions,
    }
    rules = table.argument_rules()
    arguments: dict[str, Json] = {} if rules is None else rules.as_json()
    if arguments:
        identity["arguments"] = arguments
    spec = JobSpec(
        kind=kind,
        command=table.command,
        config=config,
        seed=seed,
        campaign=definition.campaign.name,
        trial=trial,
        inputs={name: tuple(feed.digest for feed in made) for name, made in feeds.items()},
        artifacts=artifacts,
        metrics=metrics,
        seats=definition.trainer.requires.seats,
        memory_gb=definition.trainer.requires.memory_gb,
        timeout_seconds=table.timeout,
        grace_seconds=table.grace,
        silent_after_seconds=definition.monitor.silent_after,
        restarts=definition.monitor.restarts,
        arguments=arguments,
    )
    return Step(key=f"{definition.campaign.name}/{kind}/{digest(identity)[:32]}", spec=spec)
