"""What is stored of a campaign and its trials: the state from which its loop decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Verdict
from pilothouse.ids import ArtifactDigest, CampaignName, JobId, ProductId, ProposalId, RunId
from pilothouse.proposals.promotion import Confirmed


class Halt(StrEnum):
    """Why a campaign's loop stands still; a campaign without one may go on."""

    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that advances the campaign; pid and start (seconds since 1970) together name a process."""

    host: str
    pid: int
    started: float
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A stored campaign. `definition` is the parsed file as JSON; `config` is the baseline's."""

    product: ProductId
    name: CampaignName
    kind: str
    definition: Mapping[str, Json]
    definition_digest: str
    config: Mapping[str, Json]
    created_at: datetime
    owner: Owner | None
    halt: Halt | None
    last_error: str
    next_action: str


class TrialState(StrEnum):
    """Where a trial stands. One that was promoted over seeds is confirming until fresh runs have re-measured it."""

    RUNNING = "running"
    CONFIRMING = "confirming"
    JUDGED = "judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A proposal under test; in a flywheel, one iteration. Number 0 is the baseline that the campaign began with.

    `failure` is how a run of the candidate cut the trial short: how it failed by its config's doing, or that it was
    `doomed`. It is empty where none did.
    """

    product: ProductId
    campaign: CampaignName
    number: int
    proposal: ProposalId | None
    config: Mapping[str, Json]
    state: TrialState
    started_at: datetime
    ended_at: datetime | None
    verdict: Verdict | None
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    confirmation: Confirmed | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A move of the baseline: which trial's config, and in a flywheel whose checkpoint, the next one starts from.

    A rollback is a move as well, to a trial that was the baseline before.
    """

    product: ProductId
    campaign: CampaignName
    trial: int
    checkpoint: ArtifactDigest | None
    samples: ArtifactDigest | None
    config: Mapping[str, Json]
    reason: str
    at: datetime


RUN_KINDS = frozenset({"train"})
"""Executions with a seed whose result is judged; making data and scoring it are jobs, but no runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution with one seed; its job is what the fleet sees."""

    id: RunId
    product: ProductId
    campaign: CampaignName
    trial: int
    seed: int
    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """A hash-locked evaluation set with its counter of looks, and the best score that was published of it."""

    product: ProductId
    campaign: CampaignName
    name: str
    digest: str
    looks: int
    published: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A diagnosis with its evidence and the response that was chosen."""

    product: ProductId
    campaign: CampaignName
    job: JobId
    epoch: int
    at: datetime
    diagnosis: str
    evidence: str
    response: str
