"""The store as the operations see it: one transaction, one narrow Protocol per aggregate.

Every write of a job compares `(id, epoch)` and returns the job as it is now, or None when no row matched; turning None
into `LeaseLost` is the operation's part. Reads and writes of many rows name the product; a job's id is unique over all
products, and its child rows take their product from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from pilothouse.access.token import Token
from pilothouse.campaigns.record import Campaign, GoldenSet, Halt, Incident, Owner, Promotion, Run, Trial
from pilothouse.canonical import Json
from pilothouse.fleet.budget import Balance, Budget, Pause
from pilothouse.fleet.changed import Changed
from pilothouse.fleet.claim import Ending, Grant, Ready
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import (
    Artifact,
    Attempt,
    Cost,
    Edge,
    Event,
    Handed,
    Job,
    JobSpec,
    Placed,
    Priority,
    Progress,
    Report,
    Review,
    Shape,
)
from pilothouse.fleet.ledger import Reservation, Settlement
from pilothouse.fleet.session import KeptSession
from pilothouse.fleet.settings import FleetSettings
from pilothouse.fleet.stages import Stage
from pilothouse.ids import (
    ArtifactDigest,
    BootId,
    CampaignName,
    Epoch,
    FactoryName,
    JobId,
    JobNumber,
    ProductId,
    ProposalId,
    SessionNumber,
    ShapeNumber,
)
from pilothouse.logbook.entry import Entry
from pilothouse.ports.audit import Audit
from pilothouse.ports.ferries import Ferries
from pilothouse.ports.gate import Agents, Waivers
from pilothouse.ports.outbox import Outbox
from pilothouse.proposals.proposal import Approval, Proposal, State


class Jobs(Protocol):
    """Jobs, their shapes, specs, edges, attempts, reviews, artifacts and history."""

    def insert(self, news: Sequence[Placed], *, now: datetime) -> Sequence[Job]:
        """Store new jobs with their edges, all or none; `KeyReused` when a key stands for another job."""
        ...

    def by_id(self, job: JobId) -> Job | None: ...
    def by_number(self, number: JobNumber) -> Job | None: ...
    def by_key(self, product: ProductId, key: str) -> Job | None: ...
    def by_keys(self, product: ProductId, keys: Sequence[str]) -> Sequence[Job]: ...
    def keys_like(self, product: ProductId, prefix: str) -> Sequence[Job]:
        """Return the jobs whose key starts with the prefix, oldest first."""
        ...

    def spec(self, job: JobId) -> JobSpec: ...
    def handed(self, numbers: Sequence[JobNumber]) -> Mapping[JobNumber, Handed]:
        """Return what a factory is handed of these jobs."""
        ...

    def listed(
        self,
        product: ProductId,
        *,
        campaign: str | None = None,
        stage: Stage | None = None,
        priority: Priority | None = None,
        before: JobNumber | None = None,
        limit: int,
    ) -> Sequence[Job]:
        """Return the newest jobs first; `before` continues a listing after the last number seen."""
        ...

    def ready(self) -> Iterable[Ready]:
        """Return every claimable job of every product; read once, when the engine starts."""
        ...

    def shapes(self, numbers: Collection[ShapeNumber] | None = None) -> Mapping[ShapeNumber, Shape]:
        """Return the shapes of these numbers, or all of them."""
        ...

    def leased(self) -> Sequence[Job]:
        """Return every job that a session holds, of every product."""
        ...

    def count_stages(self) -> Mapping[tuple[ProductId, Stage], int]:
        """Return how many jobs of each product stand in each stage."""
        ...

    # Each of these moves jobs only when their epoch is still the expected one, and tells which were not moved.
    def assign(self, grants: Sequence[Grant], *, now: datetime, why: str = "") -> Sequence[JobNumber]:
        """Move queued jobs to assigned, raise their epochs by one and open the attempts; return those not moved."""
        ...

    def ship(self, endings: Sequence[Ending], *, now: datetime) -> Sequence[JobNumber]:
        """End attempts that succeeded and ship their jobs; return those not moved."""
        ...

    def start(
        self, job: Job, *, epoch: Epoch, pid: int, pid_started: float, now: datetime, why: str = ""
    ) -> Job | None: ...
    def observe(self, number: JobNumber, *, epoch: Epoch, progress: Progress, now: datetime) -> bool:
        """Keep the last sign of life of an attempt that has not ended; say whether there was one."""
        ...

    def ask_to_stop(self, job: Job, *, by: datetime, now: datetime, why: str) -> Job | None:
        """Keep until when a held job may still checkpoint before it has to make room."""
        ...

    def finish(self, job: Job, *, stage: Stage, report: Report, now: datetime) -> Job | None:
        """End the attempt, count its outcome and move the job; to queued and cancelled its epoch is raised by one."""
        ...

    def move(self, job: Job, *, stage: Stage, now: datetime, why: str) -> Job | None:
        """Move a job that nobody holds; its epoch is raised by one, but for a job that becomes queued from blocked."""
        ...

    def cancel(self, job: Job, *, stage: Stage, now: datetime, why: str) -> Job | None:
        """End the job as cancelled, dead_letter or failed, or requeue it; a held attempt ends as cancelled.

        The epoch is raised, so that whoever runs it is fenced.
        """
        ...

    def attempt(self, job: JobId, *, epoch: Epoch) -> Attempt | None: ...
    def attempts(self, job: JobId) -> Sequence[Attempt]: ...
    def events(self, job: JobId) -> Sequence[Event]: ...
    def artifacts(self, job: JobId) -> Sequence[Artifact]:
        """Return what the successful attempt published, without those marked damaged."""
        ...

    def is_intact(self, product: ProductId, digest: ArtifactDigest) -> bool:
        """Return whether some shipped job's artifact of this digest is not marked damaged."""
        ...

    def seconds_spent(self, product: ProductId, *, campaign: str) -> float:
        """Return the seconds of every ended attempt of the campaign, times the seats it held."""
        ...

    def mark_damaged(self, product: ProductId, digest: ArtifactDigest, *, now: datetime) -> Sequence[JobId]:
        """Mark the artifact wherever it was published and return the jobs that had made it, oldest first."""
        ...

    def edges(self, job: Job) -> Sequence[Edge]:
        """Return what the job waits for, and whom of it waits: every edge that touches it."""
        ...

    def link(self, edges: Sequence[Edge]) -> None:
        """Add edges between stored jobs and count those that are not met."""
        ...

    def meet(self, edge: Edge, *, now: datetime) -> Job | None:
        """Mark an edge as met and return the waiting job with one less to wait for; None when it was met before."""
        ...

    def children(self, job: Job) -> Sequence[Job]:
        """Return the children by number."""
        ...

    def review(self, review: Review) -> None:
        """Keep a reviewer's decision on the job's present epoch; the last one counts."""
        ...

    def reviews(self, job: Job) -> Sequence[Review]:
        """Return the decisions on the job's present epoch, oldest first."""
        ...


class Campaigns(Protocol):
    """Campaigns, their trials, runs, promotions, golden sets and incidents."""

    def put(self, campaign: Campaign) -> None:
        """Insert, or replace the kind and definition of one that exists and leave its config, owner and halt."""
        ...

    def get(self, product: ProductId, name: CampaignName) -> Campaign | None: ...
    def listed(self, product: ProductId) -> Sequence[Campaign]: ...
    def products(self) -> Sequence[ProductId]:
        """Return every product that has a campaign; for the owner of the whole store only."""
        ...

    def own(self, product: ProductId, name: CampaignName, *, owner: Owner | None) -> None: ...
    def halt(
        self, product: ProductId, name: CampaignName, *, halt: Halt | None, last_error: str, next_action: str
    ) -> None: ...
    def configure(self, product: ProductId, name: CampaignName, *, config: Mapping[str, Json]) -> None: ...

    def put_trial(self, trial: Trial) -> None:
        """Insert, or replace the trial of that number."""
        ...

    def trials(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[Trial]:
        """Return the trials by number, from a least one on."""
        ...

    def add_run(self, run: Run) -> None: ...
    def runs(self, product: ProductId, *, campaign: CampaignName | None, limit: int) -> Sequence[Run]:
        """Return the newest runs first."""
        ...

    def add_promotion(self, promotion: Promotion) -> None: ...
    def promotions(self, product: ProductId, name: CampaignName) -> Sequence[Promotion]:
        """Return the promotions, oldest first; the last one is the baseline."""
        ...

    def golden_sets(self, product: ProductId, name: CampaignName) -> Sequence[GoldenSet]: ...
    def lock_golden(self, golden: GoldenSet) -> None:
        """Store a golden set's digest; one that is locked already keeps its digest and its looks."""
        ...

    def count_look(
        self, product: ProductId, name: CampaignName, golden: str, *, published: float | None = None
    ) -> None:
        """Count one look at the golden set; `published` replaces the best score shown of it, None leaves that."""
        ...

    def add_incident(self, incident: Incident) -> None: ...
    def incidents(self, product: ProductId, name: CampaignName) -> Sequence[Incident]: ...


class Proposals(Protocol):
    """Proposals and the approvals that cover them."""

    def add(self, proposal: Proposal) -> None: ...
    def get(self, product: ProductId, proposal: ProposalId) -> Proposal | None: ...
    def listed(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[Proposal]:
        """Return the proposals of a campaign, oldest first, those of trials from a least one on."""
        ...

    def newest(
        self, product: ProductId, *, name: CampaignName | None, state: State | None, limit: int
    ) -> Sequence[Proposal]:
        """Return a product's proposals, newest first, at most so many; a name or a state of None is any."""
        ...

    def move(
        self, product: ProductId, proposal: ProposalId, *, state: State, refusal: str, was: State = State.OPEN
    ) -> bool:
        """Keep what became of a proposal, and return whether it still was where another process may have moved it."""
        ...

    def approve(self, approval: Approval) -> None: ...
    def approvals(self, product: ProductId, name: CampaignName) -> Sequence[Approval]: ...


class Entries(Protocol):
    """The append-only logbook; the store refuses to change or delete a row."""

    def append(self, entry: Entry) -> None: ...
    def last(self, product: ProductId, thread: str) -> Entry | None: ...
    def thread(self, product: ProductId, thread: str) -> Sequence[Entry]:
        """Return the entries by number."""
        ...

    def threads(self, product: ProductId) -> Sequence[str]: ...


class Factories(Protocol):
    """Factories as they have enrolled, and the sessions in which they live."""

    def put(self, factory: Factory, *, now: datetime) -> None:
        """Insert, or replace what the factory of that product and name offers, its state and its price."""
        ...

    def remove(self, product: ProductId, name: FactoryName) -> None:
        """Delete a factory that is revoked and has no open session; its name is free again."""
        ...

    def get(self, product: ProductId, name: FactoryName) -> Factory | None: ...
    def listed(self, product: ProductId | None) -> Sequence[Factory]:
        """Return the factories by product and name; None is every product."""
        ...

    def open_session(
        self, product: ProductId, factory: FactoryName, boot: BootId, *, now: datetime, expires: datetime
    ) -> SessionNumber:
        """Open the session of a boot, or renew the one it has; `LeaseLost` when that one is closed."""
        ...

    def beat(self, session: SessionNumber, *, now: datetime, expires: datetime) -> bool:
        """Renew an open session, and with it the lease of every job it holds; say whether it was open."""
        ...

    def close_session(self, session: SessionNumber, *, now: datetime, why: str) -> None:
        """End a session for good; one that is closed keeps its end."""
        ...

    def session(self, number: SessionNumber) -> KeptSession | None: ...
    def open_sessions(self) -> Sequence[KeptSession]:
        """Return the open sessions of every product, oldest first."""
        ...

    def last_session(self, product: ProductId, factory: FactoryName) -> KeptSession | None:
        """Return the newest session of a factory, open or closed."""
        ...


class Budgets(Protocol):
    """Budgets, and the append-only ledger of what attempts have reserved and spent."""

    def put(self, budget: Budget) -> None:
        """Insert, or replace the ceiling, window and enforcement of one that exists and leave its pause."""
        ...

    def get(self, product: ProductId, engine: str) -> Budget | None: ...
    def listed(self, product: ProductId | None) -> Sequence[Budget]:
        """Return the budgets by product and engine; None is every product."""
        ...

    def pause(self, product: ProductId, engine: str, *, pause: Pause) -> None: ...
    def resume(self, product: ProductId, engine: str) -> None: ...

    def reserve(self, reservation: Reservation) -> None:
        """Keep what a claimed attempt may use; an attempt reserves once."""
        ...

    def reserve_many(self, reservations: Sequence[Reservation]) -> None:
        """Keep what many claimed attempts may use, all or none."""
        ...

    def settle(self, job: JobNumber, *, epoch: Epoch, cost: Cost, now: datetime) -> bool:
        """Keep what an attempt has used, an unknown figure as it was reserved; say whether it was not settled before.

        The first settlement stays. An attempt that has reserved nothing settles nothing.
        """
        ...

    def unsettled(self) -> Sequence[Reservation]:
        """Return what attempts have reserved and not settled, of every product; read once, when the engine starts."""
        ...

    def balances(self, product: ProductId | None, *, since: datetime) -> Mapping[tuple[ProductId, str], Balance]:
        """Return what attempts claimed since then have reserved and spent, by the engine of their jobs.

        A job without an engine is counted under ""; a product's own budget is the sum over all of its engines.
        """
        ...


class Access(Protocol):
    """Tokens, by which it is known who asks."""

    def add(self, token: Token) -> None:
        """Store a new token; only its use and its revocation are ever added."""
        ...

    def by_id(self, token: str) -> Token | None: ...
    def listed(self, product: ProductId | None) -> Sequence[Token]:
        """Return a product's own tokens, oldest first; None is every token of every product, and of all of them."""
        ...

    def revoke(self, token: str, *, now: datetime) -> None:
        """Make a token worthless from that time on, which may be to come; it can be brought forward, never put off."""
        ...

    def consume(self, token: str, *, now: datetime) -> bool:
        """Use up an enrolment token that is good; say whether this caller has it, which one caller ever does."""
        ...


class ProductSettings(Protocol):
    """The fleet settings of products, each with who changed them and when."""

    def get(self, product: ProductId) -> FleetSettings:
        """Return the product's settings, the defaults when it has none."""
        ...

    def listed(self) -> Mapping[ProductId, FleetSettings]:
        """Return the settings of every product that has some."""
        ...

    def put(self, product: ProductId, settings: FleetSettings, *, who: str, now: datetime) -> None: ...


class Transaction(Protocol):
    """Everything inside commits together or not at all."""

    @property
    def jobs(self) -> Jobs: ...
    @property
    def campaigns(self) -> Campaigns: ...
    @property
    def proposals(self) -> Proposals: ...
    @property
    def waivers(self) -> Waivers: ...
    @property
    def agents(self) -> Agents: ...
    @property
    def ferries(self) -> Ferries: ...
    @property
    def entries(self) -> Entries: ...
    @property
    def factories(self) -> Factories: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def access(self) -> Access: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def fleet_settings(self) -> ProductSettings: ...

    @property
    def touched(self) -> Sequence[Job]:
        """The jobs that this transaction has changed so far, each as the change left it, in order."""
        ...

    @property
    def settled(self) -> Sequence[Settlement]:
        """The attempts whose cost this transaction has settled so far."""
        ...

    @property
    def changed(self) -> Sequence[Changed]:
        """What this transaction has changed so far of factories, sessions, settings and budgets, in order."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo the inner writes when the block raises, and keep the outer ones: one command of a group commit."""
        ...


class Moved(NamedTuple):
    """What a flight has changed: what factories are handed of the jobs that were assigned, and which were shipped."""

    handed: Mapping[JobNumber, Handed]
    shipped: Collection[JobNumber]


class Flight(Protocol):
    """Moves of jobs on their way to the disk."""

    def land(self) -> Moved:
        """Wait for the commit and return what was moved; after any error but a lost connection, nothing was."""
        ...


class Store(Protocol):
    """A database with its schema in place.

    What a transaction refuses: `NotFound` for a change or a child of something that is not there, `Conflict` for a row
    that breaks a rule of the tables, `KeyReused` for a second job under one key, `BadValue` for a value that no column
    can hold, and `StorageFailed` when the database itself fails; after `StorageFailed` nothing of it is kept, unless a
    connection was lost during the commit: then nobody knows, which the message says. A statement that fails spoils its
    transaction: what may fail and be survived belongs into a savepoint.
    """

    def write(self) -> AbstractContextManager[Transaction]:
        """Begin a writing transaction; commit at the end of the block, roll back when it raises."""
        ...

    def send(self, grants: Sequence[Grant], endings: Sequence[Ending], *, now: datetime) -> Flight:
        """Begin to move jobs in a transaction of their own, those that are where they are expected, and commit it.

        It is `Jobs.assign`, `Jobs.handed` and `Jobs.ship` at once, for endings without artifacts. Until the flight has
        landed, this thread writes nothing else.
        """
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction: one consistent snapshot."""
        ...

    def damage(self) -> Sequence[str]:
        """Return what the database's own check finds wrong, one sentence each; empty when it is sound."""
        ...

    def close(self) -> None: ...
