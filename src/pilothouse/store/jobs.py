"""`ports.store.Jobs` over a connection of either database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from pilothouse.canonical import digest
from pilothouse.errors import NotFound
from pilothouse.fleet.claim import DEPENDED_ON, Ending, Grant, Ready
from pilothouse.fleet.job import (
    SHAPED_BY,
    Artifact,
    Attempt,
    Edge,
    Event,
    Handed,
    Job,
    JobSpec,
    Outcome,
    Placed,
    Priority,
    Progress,
    Report,
    Review,
    Shape,
)
from pilothouse.fleet.retry import Allowance, allowance
from pilothouse.fleet.stages import LEASED, Stage
from pilothouse.ids import ArtifactDigest, Epoch, JobId, JobNumber, ProductId, ShapeNumber
from pilothouse.store import rows
from pilothouse.store.connection import Batch, Connection, Parameters, Value
from pilothouse.store.new_jobs import NewRows, new_rows
from pilothouse.store.rows import EDGE_KINDS, OUTCOME_NUMBERS, STAGE_NUMBERS, instant

_ASSIGNED = ("number", "epoch", "session", "now", "why")
_ATTEMPT_END = ("number", "epoch", "now", "outcome", "detail", "exit_code", "metrics", "seconds", "peak_memory_mb")
ANY = -1
LAST_NUMBER = 2**62
INSERTED_AT_ONCE = 256


class _NotAllError(Exception):
    """Some row of a batch did not match; the batch is undone."""


class StoredJobs:
    """Jobs within one transaction; `touched` collects each job that a write has moved, but for assign and ship.

    Those two are the engine's own, and it knows what it has asked for.
    """

    def __init__(self, connection: Connection, shapes: dict[Shape, ShapeNumber]) -> None:
        self._connection = connection
        self._sql = connection.queries("jobs")
        # Shapes are never deleted, but one stored by a transaction that is undone has to be forgotten with it.
        self._shapes = shapes
        self.new_shapes: dict[Shape, ShapeNumber] = {}
        self.touched: list[Job] = []

    # --- storing

    def insert(self, news: Sequence[Placed], *, now: datetime) -> Sequence[Job]:
        """Store new jobs with their edges, all or none; `KeyReused` when a key stands for another job."""
        first = self._number("last_job") + 1
        shapes = self._shapes_of(news)
        jobs: list[Job] = []
        for start in range(0, len(news), INSERTED_AT_ONCE):
            part = slice(start, start + INSERTED_AT_ONCE)
            jobs += self._insert(new_rows(news[part], first=first + start, shapes=shapes[part], now=now))
        edges = [
            Edge(job=job.number, needs=needs, kind=kind)
            for job, placed in zip(jobs, news, strict=True)
            for needs, kind in placed.needs
        ]
        if not edges:
            self.touched += jobs
            return jobs
        self.link(edges)
        stored = [self._reload(job.number) for job in jobs]
        self.touched += stored
        return stored

    def _insert(self, new: NewRows) -> Sequence[Job]:
        hot = self._connection.batch(new.hot)
        self._connection.run_many(self._sql["insert_jobs"], hot)
        self._connection.run_many(self._sql["insert_specs"], self._connection.batch(new.specs))
        self._connection.run_many(self._sql["tell_beginnings"], hot)
        return new.jobs

    def _shapes_of(self, news: Sequence[Placed]) -> Sequence[ShapeNumber]:
        """Return the shape of each job; jobs that agree in what makes a shape are asked for once."""
        found: dict[tuple[ProductId, str, object], ShapeNumber] = {}
        shapes: list[ShapeNumber] = []
        for placed in news:
            new = placed.new
            key = (new.product, new.pool, SHAPED_BY(new.spec))
            number = found.get(key)
            if number is None:
                number = found[key] = self._shape(new.spec.shape(product=new.product, pool=new.pool))
            shapes.append(number)
        return shapes

    def _shape(self, shape: Shape) -> ShapeNumber:
        """Return the number of a scheduling class, stored if it is new."""
        number = self._shapes.get(shape) or self.new_shapes.get(shape)
        if number is not None:
            return number
        key = digest(shape.as_json())
        row = self._connection.row(self._sql["shape_by_digest"], {"digest": key})
        if row is None:
            number = ShapeNumber(self._number("last_shape") + 1)
            self._connection.run(
                self._sql["insert_shape"],
                {
                    "number": number,
                    "digest": key,
                    "product": shape.product,
                    "pool": shape.pool,
                    "seats": shape.seats,
                    "shape": rows.strict_json(shape.as_json()),
                },
            )
        else:
            number = ShapeNumber(row["number"])
        self.new_shapes[shape] = number
        return number

    def _number(self, query: str) -> int:
        row = self._connection.row(self._sql[query])
        assert row is not None, "a maximum has one row"
        return int(row["number"])

    # --- reading

    def by_id(self, job: JobId) -> Job | None:
        """Return the job of that id."""
        return self._one("job_by_id", {"job": job})

    def by_number(self, number: JobNumber) -> Job | None:
        """Return the job of that number."""
        return self._one("job_by_number", {"number": number})

    def by_key(self, product: ProductId, key: str) -> Job | None:
        """Return the job that the key stands for."""
        return self._one("job_by_key", {"product": product, "key": key})

    def by_keys(self, product: ProductId, keys: Sequence[str]) -> Sequence[Job]:
        """Return the jobs that the keys stand for, of those that stand for one."""
        batch = self._connection.batch([(product, key) for key in keys])
        found = {job.key: job for job in map(rows.job, self._connection.rows_many(self._sql["jobs_by_keys"], batch))}
        return [found[key] for key in keys if key in found]

    def keys_like(self, product: ProductId, prefix: str) -> Sequence[Job]:
        """Return the jobs whose key starts with the prefix, oldest first."""
        return self._many("jobs_with_prefix", {"product": product, "prefix": prefix})

    def spec(self, job: JobId) -> JobSpec:
        """Return the spec; `NotFound` when there is no such job."""
        row = self._connection.row(self._sql["spec_of_job"], {"job": job})
        if row is None:
            raise NotFound(f"no job has the id {job!r}", fix="list the jobs with `pilothouse job list`")
        return rows.spec(row["spec"])

    def handed(self, numbers: Sequence[JobNumber]) -> Mapping[JobNumber, Handed]:
        """Return what a factory is handed of these jobs."""
        batch = self._connection.batch([(number,) for number in numbers])
        found = self._connection.rows_many(self._sql["handed_jobs"], batch)
        return {number: Handed(job, product, key, spec) for number, job, product, key, spec in found}

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
        wanted: Parameters = {
            "product": product,
            "before": LAST_NUMBER if before is None else before,
            "stage": ANY if stage is None else STAGE_NUMBERS[stage],
            "priority": ANY if priority is None else priority.rank,
            "limit": limit,
        }
        if campaign is None:
            return self._many("newest_jobs", wanted)
        return self._many("newest_jobs_of_campaign", {**wanted, "campaign": campaign})

    def ready(self) -> Iterable[Ready]:
        """Return every claimable job of every product; read once, when the engine starts."""
        # The columns stand in the order of the tuple, and a million of them are read at a start.
        return [Ready(*row) for row in self._connection.rows(self._sql["ready_jobs"])]

    def shapes(self, numbers: Collection[ShapeNumber] | None = None) -> Mapping[ShapeNumber, Shape]:
        """Return the shapes of these numbers, or all of them."""
        if numbers is None:
            found = self._connection.rows(self._sql["all_shapes"])
        else:
            found = [
                row
                for number in numbers
                for row in self._connection.rows(self._sql["shape_by_number"], {"number": number})
            ]
        return {ShapeNumber(row["number"]): rows.shape(row["shape"]) for row in found}

    def leased(self) -> Sequence[Job]:
        """Return every job that a session holds, of every product."""
        return self._many("leased_jobs", {})

    def count_stages(self) -> Mapping[tuple[ProductId, Stage], int]:
        """Return how many jobs of each product stand in each stage."""
        found = self._connection.rows(self._sql["count_stages"])
        return {(ProductId(row["product"]), rows.STAGES[row["stage"]]): int(row["jobs"]) for row in found}

    # --- the engine's batches

    def assign(self, grants: Sequence[Grant], *, now: datetime, why: str = "") -> Sequence[JobNumber]:
        """Move queued jobs to assigned, raise their epochs by one and open the attempts; return those not moved."""
        when = instant(now)
        rows_ = [(grant.number, grant.expected, grant.session, when, why) for grant in grants]
        batch, missed = self._all_or_each("assign_jobs", "assign_job", rows_, _ASSIGNED)
        self._connection.run_many(self._sql["open_attempts"], batch)
        self._connection.run_many(self._sql["tell_claims"], batch)
        return missed

    def ship(self, endings: Sequence[Ending], *, now: datetime) -> Sequence[JobNumber]:
        """End attempts that succeeded and ship their jobs; return those not moved."""
        when = instant(now)
        rows_ = [
            (*rows.attempt_end(ending.number, ending.epoch, ending.report, when), STAGE_NUMBERS[ending.stage])
            for ending in endings
        ]
        batch, missed = self._all_or_each("ship_jobs", "ship_job", rows_, (*_ATTEMPT_END, "stage"))
        self._connection.run_many(self._sql["end_attempts"], batch)
        self._connection.run_many(self._sql["tell_endings"], batch)
        for ending in endings:
            if ending.report.artifacts and ending.number not in missed:
                self._publish(self._reload(ending.number), epoch=ending.epoch, report=ending.report)
        return missed

    def _all_or_each(
        self, many: str, single: str, values: Sequence[tuple[Value, ...]], names: tuple[str, ...]
    ) -> tuple[Batch, Sequence[JobNumber]]:
        """Carry out a batch, or, when not all of its rows match, its rows one by one.

        Return the rows that matched, as a batch, and the numbers of the jobs that did not.
        """
        batch = self._connection.batch(values)
        try:
            with self._connection.savepoint():
                self._all(many, batch)
        except _NotAllError:
            pass
        else:
            return batch, ()
        known = self._sql[single]
        moved = [row for row in values if self._connection.run(known, dict(zip(names, row, strict=True))) == 1]
        done = {row[0] for row in moved}
        return self._connection.batch(moved), [JobNumber(int(str(row[0]))) for row in values if row[0] not in done]

    def _all(self, many: str, batch: Batch) -> None:
        if self._connection.run_many(self._sql[many], batch) != batch.size:
            raise _NotAllError

    # --- moving one job

    def _moved(self, query: str, parameters: Parameters, *, job: Job, why: str = "") -> Job | None:
        """Carry out a move, tell it in the history, and return the job as it is now, or None when no row matched."""
        if self._connection.run(self._sql[query], parameters) == 0:
            return None
        told = self._connection.run(self._sql["tell"], {"number": job.number, "why": why or None})
        assert told == 1, f"the history of job {job.number} has no line before this move"
        moved = self._reload(job.number)
        self.touched.append(moved)
        return moved

    def start(
        self, job: Job, *, epoch: Epoch, pid: int, pid_started: float, now: datetime, why: str = ""
    ) -> Job | None:
        """Move assigned to building and keep the process."""
        when = instant(now)
        moved = self._moved("start_job", {"number": job.number, "epoch": epoch, "now": when}, job=job, why=why)
        if moved is not None:
            self._connection.run(
                self._sql["start_attempt"],
                {"number": job.number, "epoch": epoch, "pid": pid, "pid_started": pid_started, "now": when},
            )
        return moved

    def observe(self, number: JobNumber, *, epoch: Epoch, progress: Progress, now: datetime) -> bool:
        """Keep the last sign of life of an attempt that has not ended; say whether there was one."""
        changed = self._connection.run(
            self._sql["observe_attempt"],
            {
                "number": number,
                "epoch": epoch,
                "progress": rows.progress_json(progress),
                "now": instant(now),
            },
        )
        return changed == 1

    def ask_to_stop(self, job: Job, *, by: datetime, now: datetime, why: str) -> Job | None:
        """Keep until when a held job may still checkpoint before it has to make room."""
        parameters: Parameters = {
            "number": job.number,
            "epoch": job.epoch,
            "stop_at": instant(by),
            "now": instant(now),
        }
        return self._moved("ask_to_stop", parameters, job=job, why=why)

    def finish(self, job: Job, *, stage: Stage, report: Report, now: datetime) -> Job | None:
        """End the attempt, count its outcome and move the job; to queued and cancelled its epoch is raised by one."""
        kind, when = allowance(report.outcome), instant(now)
        moved = self._moved(
            "finish_job",
            {
                "number": job.number,
                "epoch": job.epoch,
                "stage": STAGE_NUMBERS[stage],
                "step": int(stage in {Stage.QUEUED, Stage.CANCELLED}),
                "failures": int(kind is Allowance.FAILURES),
                "preemptions": int(kind is Allowance.PREEMPTIONS),
                "losses": int(kind is Allowance.LOSSES),
                "now": when,
            },
            job=job,
            why="" if report.outcome is Outcome.SUCCEEDED else report.outcome.value,
        )
        if moved is not None:
            self._end_attempt(rows.attempt_end(job.number, job.epoch, report, when))
            self._publish(job, epoch=job.epoch, report=report)
        return moved

    def _end_attempt(self, values: tuple[Value, ...]) -> None:
        self._connection.run(self._sql["end_attempt"], dict(zip(_ATTEMPT_END, values, strict=True)))

    def _publish(self, job: Job, *, epoch: Epoch, report: Report) -> None:
        for position, artifact in enumerate(report.artifacts):
            self._connection.run(
                self._sql["insert_artifact"],
                {
                    "number": job.number,
                    "epoch": epoch,
                    "position": position,
                    "product": job.product,
                    "name": artifact.name,
                    "digest": artifact.digest,
                    "size_bytes": artifact.size_bytes,
                    "meta": rows.measured_json(artifact.meta),
                },
            )

    def move(self, job: Job, *, stage: Stage, now: datetime, why: str) -> Job | None:
        """Move a job that nobody holds; its epoch is raised by one, but for a job that becomes queued from blocked."""
        return self._moved(
            "move_job",
            {
                "number": job.number,
                "epoch": job.epoch,
                "previous": STAGE_NUMBERS[job.stage],
                "stage": STAGE_NUMBERS[stage],
                "step": int((job.stage, stage) != (Stage.BLOCKED, Stage.QUEUED)),
                "now": instant(now),
            },
            job=job,
            why=why,
        )

    def cancel(self, job: Job, *, stage: Stage, now: datetime, why: str) -> Job | None:
        """End the job as cancelled, dead_letter or failed, or requeue it; a held attempt ends as cancelled.

        The epoch is raised, so that whoever runs it is fenced.
        """
        when = instant(now)
        attempt = self.attempt(job.id, epoch=job.epoch) if job.stage in LEASED else None
        moved = self._moved(
            "cancel_job",
            {"number": job.number, "epoch": job.epoch, "stage": STAGE_NUMBERS[stage], "now": when},
            job=job,
            why=why,
        )
        if moved is not None and attempt is not None:
            seconds = max(0.0, (now - attempt.claimed_at).total_seconds())
            outcome = OUTCOME_NUMBERS[Outcome.CANCELLED]
            self._end_attempt(
                (job.number, job.epoch, when, outcome, f"the job was {stage.value}", None, "{}", seconds, None)
            )
        return moved

    # --- attempts, history, artifacts

    def attempt(self, job: JobId, *, epoch: Epoch) -> Attempt | None:
        """Return one claim of the job."""
        row = self._connection.row(self._sql["attempt_of_epoch"], {"job": job, "epoch": epoch})
        return None if row is None else rows.attempt(row)

    def attempts(self, job: JobId) -> Sequence[Attempt]:
        """Return every claim of the job by epoch."""
        return [rows.attempt(row) for row in self._connection.rows(self._sql["attempts_of_job"], {"job": job})]

    def events(self, job: JobId) -> Sequence[Event]:
        """Return the history of the job in its order."""
        return [rows.event(row) for row in self._connection.rows(self._sql["events_of_job"], {"job": job})]

    def artifacts(self, job: JobId) -> Sequence[Artifact]:
        """Return what the successful attempt published, without those marked damaged."""
        return [rows.artifact(row) for row in self._connection.rows(self._sql["artifacts_of_job"], {"job": job})]

    def is_intact(self, product: ProductId, digest: ArtifactDigest) -> bool:
        """Return whether some shipped job's artifact of this digest is not marked damaged."""
        return bool(self._connection.rows(self._sql["intact_artifact"], {"product": product, "digest": digest}))

    def seconds_spent(self, product: ProductId, *, campaign: str) -> float:
        """Return the seconds of every ended attempt of the campaign, times the seats it held."""
        row = self._connection.row(self._sql["seconds_spent"], {"product": product, "campaign": campaign})
        assert row is not None, "a sum has one row"
        return float(row["seconds"])

    def mark_damaged(self, product: ProductId, digest: ArtifactDigest, *, now: datetime) -> Sequence[JobId]:
        """Mark the artifact wherever it was published and return the jobs that had made it, oldest first."""
        which: Parameters = {"product": product, "digest": digest}
        self._connection.run(self._sql["mark_damaged"], {**which, "now": instant(now)})
        return [JobId(row["id"]) for row in self._connection.rows(self._sql["makers_of_artifact"], which)]

    # --- graphs and reviews

    def edges(self, job: Job) -> Sequence[Edge]:
        """Return what the job waits for, and whom of it waits: every edge that touches it."""
        return [rows.edge(row) for row in self._connection.rows(self._sql["edges_of_job"], {"number": job.number})]

    def link(self, edges: Sequence[Edge]) -> None:
        """Add edges between stored jobs and count those that are not met."""
        for edge in edges:
            self._connection.run(
                self._sql["insert_edge"],
                {"job": edge.job, "needs": edge.needs, "kind": EDGE_KINDS.index(edge.kind)},
            )
            self._connection.run(self._sql["count_waiting"], {"job": edge.job})
            if self._connection.run(self._sql["mark_job"], {"number": edge.needs, "mark": DEPENDED_ON}) == 1:
                self.touched.append(self._reload(edge.needs))

    def meet(self, edge: Edge, *, now: datetime) -> Job | None:
        """Mark an edge as met and return the waiting job with one less to wait for; None when it was met before."""
        del now
        if self._connection.run(self._sql["meet_edge"], {"job": edge.job, "needs": edge.needs}) == 0:
            return None
        self._connection.run(self._sql["wait_less"], {"job": edge.job})
        return self._reload(edge.job)

    def children(self, job: Job) -> Sequence[Job]:
        """Return the children by number."""
        return self._many("children_of_job", {"number": job.number})

    def review(self, review: Review) -> None:
        """Keep a reviewer's decision on the job's present epoch; the last one counts."""
        self._connection.run(
            self._sql["keep_review"],
            {
                "number": review.job,
                "epoch": review.epoch,
                "reviewer": review.reviewer,
                "approved": int(review.approved),
                "reason": review.reason,
                "at": instant(review.at),
            },
        )

    def reviews(self, job: Job) -> Sequence[Review]:
        """Return the decisions on the job's present epoch, oldest first."""
        found = self._connection.rows(self._sql["reviews_of_epoch"], {"number": job.number, "epoch": job.epoch})
        return [rows.review(row) for row in found]

    # --- inside

    def _one(self, query: str, parameters: Parameters) -> Job | None:
        row = self._connection.row(self._sql[query], parameters)
        return None if row is None else rows.job(row)

    def _many(self, query: str, parameters: Parameters) -> list[Job]:
        return [rows.job(row) for row in self._connection.rows(self._sql[query], parameters)]

    def _reload(self, number: JobNumber) -> Job:
        job = self.by_number(number)
        assert job is not None, f"job {number} was changed in this transaction"
        return job
