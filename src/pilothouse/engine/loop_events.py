"""What a campaign's loop tells whoever presents it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.campaigns.record import Trial
from pilothouse.evidence.noise_floor import NoiseFloor
from pilothouse.fleet.job import Job, JobSpec, Progress
from pilothouse.ids import JobId
from pilothouse.proposals.proposal import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """A step's job, with the last sign of life of its current attempt."""

    job: Job
    spec: JobSpec
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """A step's job has shipped; `seconds` sums its attempts."""

    job: Job
    spec: JobSpec
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJudged:
    """A trial has its verdict; the flywheel's trial 0, its baseline, has none. `changes` says what the trial moved."""

    trial: Trial
    promoted: bool
    changes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfirmed:
    """Fresh runs have re-measured a promoted trial: it was kept, or the baseline moved back."""

    trial: Trial
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineKept:
    """The unchanged config was measured; `floor` is that of the primary metric or of the first one."""

    floor: NoiseFloor
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAsked:
    """The proposal of this trial is asked for where an agent may be the one who answers, which can take long."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRefused:
    """A proposal was refused before any run; it holds the reason."""

    proposal: Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDoomed:
    """A run was stopped because its curve left it no chance."""

    job: JobId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryTold:
    """Something of a ferry that a person wants to read as it happens, in one line."""

    line: str


LoopEvent: TypeAlias = (
    StepSeen
    | StepDone
    | TrialJudged
    | TrialConfirmed
    | BaselineKept
    | AgentAsked
    | ProposalRefused
    | RunDoomed
    | FerryTold
)
