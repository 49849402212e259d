"""What answers carry, as models: OpenAPI tells them, and the tests hold every answer against them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue


class Answer(BaseModel):
    """A JSON object with these keys and no other."""

    model_config = ConfigDict(extra="forbid")


class Health(Answer):
    """The server answers."""

    status: str


class SummaryAnswer(Answer):
    """What became of a job so far, in a line; `seconds` are those of all its attempts."""

    kind: str
    trial: int
    attempts: int
    progress: str | None
    seconds: float
    outcome: str | None


class JobAnswer(Answer):
    """A job as it stands; `spec` is told of one job only, `summary` in a list that asks for it."""

    id: str
    product: str
    pool: str
    key: str
    stage: str
    epoch: int
    priority: str
    seats: int
    created_at: str
    changed_at: str
    parent: str | None
    factory: str | None
    failures: int
    preemptions: int
    losses: int
    waiting: int
    stop_at: str | None
    spec: dict[str, JsonValue] | None = None
    summary: SummaryAnswer | None = None


class JobsAnswer(Answer):
    """Jobs, newest first; `next` goes on where this ends."""

    jobs: list[JobAnswer]
    next: str | None


class SubmittedAnswer(JobAnswer):
    """A job as it was submitted, with the ids of its children."""

    children: list[str]


class ChildrenAnswer(Answer):
    """The children as they were submitted."""

    jobs: list[JobAnswer]


class NodeAnswer(Answer):
    """A job of a graph; one that is not inside is only waited for."""

    id: str
    key: str
    stage: str
    parent: str | None
    inside: bool


class EdgeAnswer(Answer):
    """`job` waits for `needs`; a hopeless wait never ends well."""

    job: str
    needs: str
    kind: str
    met: bool
    hopeless: bool


class DagAnswer(Answer):
    """A job with everything below it, and what of it waits for what."""

    root: str
    nodes: list[NodeAnswer]
    edges: list[EdgeAnswer]


class RunAnswer(Answer):
    """One attempt."""

    job: str
    epoch: int
    factory: str
    boot: str
    claimed_at: str
    started_at: str | None
    ended_at: str | None
    outcome: str | None
    detail: str
    exit_code: int | None
    seconds: float | None
    peak_memory_mb: float | None
    metrics: dict[str, JsonValue]
    progress: dict[str, JsonValue] | None


class RunsAnswer(Answer):
    """A job's attempts, oldest first."""

    runs: list[RunAnswer]


class EventAnswer(Answer):
    """One move of a job."""

    sequence: int
    at: str
    epoch: int
    previous: str | None
    stage: str
    why: str


class EventsAnswer(Answer):
    """A job's history, oldest first."""

    events: list[EventAnswer]


class ArtifactAnswer(Answer):
    """A sealed folder."""

    name: str
    digest: str
    size_bytes: int
    meta: dict[str, JsonValue] = {}


class ArtifactsAnswer(Answer):
    """What a job has published."""

    artifacts: list[ArtifactAnswer]


class DetailsAnswer(Answer):
    """Everything that is stored of a job; a run folder is named as its factory names it."""

    job: str
    product: str
    key: str
    stage: str
    epoch: int
    priority: str
    failures: int
    preemptions: int
    losses: int
    created_at: str
    spec: dict[str, JsonValue]
    attempts: list[dict[str, JsonValue]]
    artifacts: list[dict[str, JsonValue]]
    incidents: list[dict[str, JsonValue]]
    events: list[str]


class LogAnswer(Answer):
    """The end of what a job's newest attempt wrote, and the file in its factory's home that has all of it."""

    job: str
    path: str
    text: str


class LeastStepAnswer(Answer):
    """The step that an attempt must start from at least, and where its checkpoint lies."""

    step: int
    factory: str
    folder: str


class OfferAnswer(Answer):
    """A granted claim."""

    job: str
    epoch: int
    product: str
    key: str
    spec: dict[str, JsonValue]
    folder: str
    lease_seconds: float
    earlier_folders: list[str]
    least: LeastStepAnswer | None


class OffersAnswer(Answer):
    """What a factory may run; nothing came up in time where it is empty."""

    offers: list[OfferAnswer]


class CommandAnswer(Answer):
    """An order about one attempt."""

    job: str
    epoch: int
    word: str
    seconds: float
    why: str


class BeatAnswer(Answer):
    """Every lease of the factory is good for `lease_seconds` from before it asked."""

    lease_seconds: float
    commands: list[CommandAnswer]
    draining: bool


class ResultAnswer(Answer):
    """What became of one report: accepted, or refused with the problem."""

    job: str
    epoch: int
    accepted: bool
    problem: dict[str, JsonValue] | None


class ResultsAnswer(Answer):
    """One result per report, in their order."""

    results: list[ResultAnswer]


class TokenAnswer(Answer):
    """A token without its secret."""

    id: str
    kind: str
    name: str
    role: str | None
    product: str | None
    factory: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    used_at: str | None


class MintedAnswer(TokenAnswer):
    """A new token; `token` is its text, which is shown this once."""

    token: str


class TokensAnswer(Answer):
    """Tokens, oldest first."""

    tokens: list[TokenAnswer]


class AuditLineAnswer(Answer):
    """One act that needed a privilege; `before` and `after` are digests of the states, as the object's route tells."""

    position: int
    at: str
    product: str | None
    actor: str
    token: str | None
    act: str
    object: str
    detail: str
    before: str | None
    after: str | None


class AuditAnswer(Answer):
    """Lines of the audit log, newest first; `next` goes on before that position."""

    lines: list[AuditLineAnswer]
    next: int | None


class KeyAnswer(Answer):
    """A worker's key; `token` is its text, which is shown this once."""

    factory: str
    product: str | None
    token: str
    expires_at: str | None


class FactoryAnswer(Answer):
    """A factory as it was last heard of."""

    name: str
    product: str | None
    state: str
    seats: int
    gpus: int
    capabilities: list[str]
    engines: list[str]
    usd_per_hour: float | None
    alive: bool
    boot: str | None
    heard_at: str | None
    expires_at: str | None
    held: list[dict[str, JsonValue]]


class FactoriesAnswer(Answer):
    """Factories by name."""

    factories: list[FactoryAnswer]


class BudgetAnswer(Answer):
    """A budget and how it stands in the present window."""

    product: str
    engine: str
    ceiling: dict[str, float | None]
    window_seconds: int
    enforced: bool
    state: str
    paused: dict[str, str] | None
    window: dict[str, str]
    spent: dict[str, float]
    reserved: dict[str, float]
    alerts: list[dict[str, JsonValue]]


class BudgetsAnswer(Answer):
    """Budgets by product and engine."""

    budgets: list[BudgetAnswer]


class QueueAnswer(Answer):
    """A number that grows whenever a job has changed: as long as it stands there is nothing new to claim."""

    version: int


class ProductFigures(Answer):
    """How a product's part of the fleet stands."""

    stages: dict[str, int]
    queue_depth: int
    oldest_queued_seconds: float | None
    factories: int
    seats: int
    seats_taken: int


class AlertAnswer(Answer):
    """What a person should know; a dry run is what enforcement would do."""

    kind: str
    product: str
    detail: str
    dry_run: bool


class FleetAnswer(Answer):
    """How the fleet stands."""

    at: str
    products: dict[str, ProductFigures]
    factories: dict[str, int]
    alerts: list[AlertAnswer]


class ReasonAnswer(Answer):
    """One thing that is so, and what would change it."""

    code: str
    text: str
    fix: str
    jobs: list[str]
    factories: dict[str, str]


class ScoreAnswer(Answer):
    """A score, and the terms that sum to it."""

    total: float
    terms: dict[str, float]


class CandidateAnswer(Answer):
    """A factory that could run the job, its score there, and what stands against it now."""

    factory: str
    score: ScoreAnswer
    against: str | None


class ExplainAnswer(Answer):
    """Why a job stands where it stands; the first reason is the headline, the first candidate the best."""

    job: str
    stage: str
    headline: str
    reasons: list[ReasonAnswer]
    candidates: list[CandidateAnswer]


class VictimAnswer(Answer):
    """A job that would make room."""

    job: str
    priority: str
    seats: int
    running_seconds: float
    lost_seconds: float


class PreemptionAnswer(Answer):
    """Who makes room for a job, and where; nobody where there are no victims."""

    job: str
    dry_run: bool
    enabled: bool
    factory: str | None
    victims: list[VictimAnswer]
    lost_seat_seconds: float
    detail: str


class SettingsAnswer(Answer):
    """How a product's jobs are placed and preempted."""

    weights: dict[str, float]
    preemption: bool
    min_running_seconds: float
    stop_grace_seconds: float
