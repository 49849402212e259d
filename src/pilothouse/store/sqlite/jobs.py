"""`ports.store.Jobs` on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pilothouse.errors import NotFound
from pilothouse.fleet.job import Artifact, Attempt, Event, Job, JobSpec, NewJob, Progress, Report
from pilothouse.fleet.retry import Allowance, allowance
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, BootId, Epoch, FactoryName, JobId, ProductId
from pilothouse.monitoring.quoted import storable
from pilothouse.store import rows
from pilothouse.store.named_sql import read_queries
from pilothouse.store.rows import instant
from pilothouse.store.sqlite.connection import Connection, Parameters

_SQL = read_queries(__package__, "sql/jobs.sql")


class SqliteJobs:
    """Jobs within one transaction of the connection; `touched` collects each job that a write has moved."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.touched: list[Job] = []

    def _moved(self, query: str, parameters: Parameters, *, job: JobId) -> Job | None:
        """Carry out a change of one job and return it as it is now, or None when no row matched."""
        # RETURNING would say it in one statement, at three times the price of the change itself.
        if self._connection.run(query, parameters) == 0:
            return None
        moved = self.by_id(job)
        assert moved is not None, f"job {job} was changed in this transaction"
        self.touched.append(moved)
        return moved

    def _many(self, query: str, parameters: Parameters) -> list[Job]:
        return [rows.job(row) for row in self._connection.rows(query, parameters)]

    def insert(self, new: NewJob, *, stage: Stage, now: datetime) -> Job:
        """Store a new job; `KeyReused` when its key stands for another one."""
        job = self._moved(
            _SQL["insert_job"],
            {
                "id": new.id,
                "product": new.product,
                "pool": new.pool,
                "key": new.key,
                "stage": stage.value,
                "priority": new.priority.value,
                "seats": new.spec.seats,
                "now": instant(now),
            },
            job=new.id,
        )
        assert job is not None, "an insertion changes one row"
        self._connection.run(
            _SQL["insert_spec"],
            {
                "job": new.id,
                "product": new.product,
                "campaign": new.spec.campaign,
                "digest": new.spec.digest(),
                "spec": rows.strict_json(new.spec.as_json()),
            },
        )
        return job

    def by_id(self, job: JobId) -> Job | None:
        """Return the job of that id."""
        row = self._connection.row(_SQL["job_by_id"], {"job": job})
        return None if row is None else rows.job(row)

    def by_key(self, product: ProductId, key: str) -> Job | None:
        """Return the job that the key stands for."""
        row = self._connection.row(_SQL["job_by_key"], {"product": product, "key": key})
        return None if row is None else rows.job(row)

    def keys_like(self, product: ProductId, prefix: str) -> Sequence[Job]:
        """Return the jobs whose key starts with the prefix, oldest first."""
        return self._many(_SQL["jobs_with_prefix"], {"product": product, "prefix": prefix})

    def spec(self, job: JobId) -> JobSpec:
        """Return the spec; `NotFound` when there is no such job."""
        row = self._connection.row(_SQL["spec_of_job"], {"job": job})
        if row is None:
            raise NotFound(f"no job has the id {job!r}", fix="list the jobs with `pilothouse job list`")
        return rows.spec(row)

    def listed(self, product: ProductId, *, campaign: str | None, limit: int) -> Sequence[Job]:
        """Return the newest jobs first."""
        if campaign is None:
            return self._many(_SQL["newest_jobs"], {"product": product, "limit": limit})
        return self._many(_SQL["newest_jobs_of_campaign"], {"product": product, "campaign": campaign, "limit": limit})

    def queued(self) -> Iterable[Job]:
        """Return every claimable job, of all products."""
        return self._many(_SQL["queued_jobs"], {})

    def leased(self) -> Sequence[Job]:
        """Return every job that a factory holds, of all products."""
        return self._many(_SQL["leased_jobs"], {})

    def assign(
        self,
        job: JobId,
        *,
        epoch: Epoch,
        factory: FactoryName,
        boot: BootId,
        expires: datetime,
        folder: str,
        now: datetime,
    ) -> Job | None:
        """Move queued to assigned, raise the epoch by one and open the attempt of the new epoch."""
        moved = self._moved(
            _SQL["assign_job"],
            {
                "job": job,
                "epoch": epoch,
                "factory": factory,
                "boot": boot,
                "expires": instant(expires),
                "now": instant(now),
            },
            job=job,
        )
        if moved is not None:
            self._connection.run(_SQL["open_attempt"], {"job": job, "folder": folder, "now": instant(now)})
        return moved

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, now: datetime) -> Job | None:
        """Move assigned to building and keep the process."""
        when = instant(now)
        moved = self._moved(_SQL["start_job"], {"job": job, "epoch": epoch, "now": when}, job=job)
        if moved is not None:
            self._connection.run(
                _SQL["start_attempt"],
                {"job": job, "epoch": epoch, "pid": pid, "pid_started": pid_started, "now": when},
            )
        return moved

    def renew(self, job: JobId, *, epoch: Epoch, expires: datetime) -> Job | None:
        """Extend the lease."""
        parameters: Parameters = {"job": job, "epoch": epoch, "expires": instant(expires)}
        return self._moved(_SQL["renew_lease"], parameters, job=job)

    def observe(self, job: JobId, *, epoch: Epoch, progress: Progress, now: datetime) -> bool:
        """Keep the last sign of life of an attempt that has not ended; say whether there was one."""
        changed = self._connection.run(
            _SQL["observe_attempt"],
            {"job": job, "epoch": epoch, "progress": rows.progress_json(progress), "now": instant(now)},
        )
        return changed == 1

    def finish(self, job: JobId, *, epoch: Epoch, stage: Stage, report: Report, now: datetime) -> Job | None:
        """End the attempt, count its outcome and move the job; to queued and cancelled its epoch is raised by one."""
        kind = allowance(report.outcome)
        moved = self._moved(
            _SQL["finish_job"],
            {
                "job": job,
                "epoch": epoch,
                "stage": stage.value,
                "failures": kind is Allowance.FAILURES,
                "preemptions": kind is Allowance.PREEMPTIONS,
                "losses": kind is Allowance.LOSSES,
                "now": instant(now),
            },
            job=job,
        )
        if moved is not None:
            self._end_attempt(job, epoch=epoch, report=report, now=now)
        return moved

    def _end_attempt(self, job: JobId, *, epoch: Epoch, report: Report, now: datetime) -> None:
        """Keep the report and what it sealed."""
        self._connection.run(
            _SQL["end_attempt"],
            {
                "job": job,
                "epoch": epoch,
                "outcome": report.outcome.value,
                "detail": storable(report.detail),
                "exit_code": report.exit_code,
                "metrics": rows.measured_json(report.metrics),
                "seconds": report.seconds,
                "peak_memory_mb": report.peak_memory_mb,
                "now": instant(now),
            },
        )
        for position, artifact in enumerate(report.artifacts):
            self._connection.run(
                _SQL["insert_artifact"],
                {
                    "job": job,
                    "epoch": epoch,
                    "position": position,
                    "name": artifact.name,
                    "digest": artifact.digest,
                    "size_bytes": artifact.size_bytes,
                    "meta": rows.measured_json(artifact.meta),
                },
            )

    def cancel(self, job: JobId, *, epoch: Epoch, now: datetime) -> Job | None:
        """Move the job to cancelled, end its attempt and raise the epoch, so that whoever runs it is fenced."""
        parameters: Parameters = {"job": job, "epoch": epoch, "now": instant(now)}
        moved = self._moved(_SQL["cancel_job"], parameters, job=job)
        if moved is not None:
            self._connection.run(_SQL["cancel_attempt"], parameters)
        return moved

    def attempt(self, job: JobId, *, epoch: Epoch) -> Attempt | None:
        """Return one claim of the job."""
        row = self._connection.row(_SQL["attempt_of_epoch"], {"job": job, "epoch": epoch})
        return None if row is None else rows.attempt(row)

    def attempts(self, job: JobId) -> Sequence[Attempt]:
        """Return every claim of the job by epoch."""
        return [rows.attempt(row) for row in self._connection.rows(_SQL["attempts_of_job"], {"job": job})]

    def events(self, job: JobId) -> Sequence[Event]:
        """Return the history of the job in its order."""
        return [rows.event(row) for row in self._connection.rows(_SQL["events_of_job"], {"job": job})]

    def artifacts(self, job: JobId) -> Sequence[Artifact]:
        """Return what the shipped attempt published, without those marked damaged."""
        return [rows.artifact(row) for row in self._connection.rows(_SQL["artifacts_of_job"], {"job": job})]

    def is_intact(self, product: ProductId, digest: ArtifactDigest) -> bool:
        """Return whether some shipped job's artifact of this digest is not marked damaged."""
        return bool(self._connection.rows(_SQL["intact_artifact"], {"product": product, "digest": digest}))

    def seconds_spent(self, product: ProductId, *, campaign: str) -> float:
        """Return the seconds of every ended attempt of the campaign, times the seats it held."""
        row = self._connection.row(_SQL["seconds_spent"], {"product": product, "campaign": campaign})
        assert row is not None, "a sum has one row"
        return float(row["seconds"])

    def mark_damaged(self, product: ProductId, digest: ArtifactDigest, *, now: datetime) -> Sequence[JobId]:
        """Mark the artifact wherever it was published and return the jobs that had made it, oldest first."""
        which: Parameters = {"product": product, "digest": digest}
        self._connection.run(_SQL["mark_damaged"], {**which, "now": instant(now)})
        return [JobId(row["id"]) for row in self._connection.rows(_SQL["makers_of_artifact"], which)]
