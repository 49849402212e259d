"""What is stored of a job, as rows and details that every surface shows.

A run folder is told as its factory names it. Where it lies on this machine, if it does, is for `placed` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pilothouse.campaigns.record import Run
from pilothouse.canonical import Json
from pilothouse.errors import NotFound, StorageFailed
from pilothouse.fleet.job import Attempt
from pilothouse.ids import CampaignName, JobId, ProductId, RunId
from pilothouse.operations.find_job import find_job
from pilothouse.ports.store import Transaction
from pilothouse.trainer.folder import LOG_FILE

LATEST = "latest"
FACTORIES = "factories"
"""Where a home keeps what each factory has that works for a server."""
RUNS_SEARCHED_MAX = 10_000
LOG_BYTES_MAX = 1 << 20


def find_run(tx: Transaction, product: ProductId, run: str) -> Run:
    """Return the product's run of that id, or its newest one for `latest`."""
    runs = tx.campaigns.runs(product, campaign=None, limit=1 if run == LATEST else RUNS_SEARCHED_MAX)
    found = next((each for each in runs if run in {LATEST, each.id}), None)
    if found is None:
        raise NotFound(f"there is no run {RunId(run)!r}", fix="`pilothouse run list` shows their ids")
    return found


def job_row(tx: Transaction, product: ProductId, job: JobId) -> dict[str, Json]:
    """Return one line about a job."""
    found = find_job(tx, job, product=product)
    attempts = tx.jobs.attempts(job)
    last = attempts[-1] if attempts else None
    spec = tx.jobs.spec(job)
    return {
        "kind": spec.kind,
        "trial": spec.trial,
        "stage": found.stage.value,
        "attempts": len(attempts),
        "progress": _progress_words(last),
        "seconds": sum(attempt.seconds or 0.0 for attempt in attempts),
        "outcome": last.outcome.value if last is not None and last.outcome is not None else None,
    }


def job_details(tx: Transaction, product: ProductId, job: JobId) -> dict[str, Json]:
    """Return everything that is stored of a job."""
    found = find_job(tx, job, product=product)
    spec = tx.jobs.spec(job)
    return {
        "job": found.id,
        "product": found.product,
        "key": found.key,
        "stage": found.stage.value,
        "epoch": found.epoch,
        "priority": found.priority.value,
        "failures": found.failures,
        "preemptions": found.preemptions,
        "losses": found.losses,
        "created_at": found.created_at.isoformat(),
        "spec": spec.as_json(),
        "attempts": [_attempt_json(attempt) for attempt in tx.jobs.attempts(job)],
        "artifacts": [
            {
                "name": artifact.name,
                "digest": artifact.digest,
                "bytes": artifact.size_bytes,
                "meta": dict(artifact.meta),
            }
            for artifact in tx.jobs.artifacts(job)
        ],
        "incidents": [
            {
                "epoch": incident.epoch,
                "at": incident.at.isoformat(),
                "diagnosis": incident.diagnosis,
                "evidence": incident.evidence,
                "response": incident.response,
            }
            for incident in tx.campaigns.incidents(product, CampaignName(spec.campaign))
            if incident.job == job
        ],
        "events": [
            f"{event.sequence} {event.at.isoformat()} epoch {event.epoch}: "
            f"{event.previous.value if event.previous is not None else 'new'} → {event.stage.value}"
            f"{f': {event.why}' if event.why else ''}"
            for event in tx.jobs.events(job)
        ],
    }


def placed(details: Mapping[str, Json], *, home: Path) -> dict[str, Json]:
    """Return the details with the whole path of every run folder that lies in this home."""
    attempts = details["attempts"]
    assert isinstance(attempts, list), f"details without attempts: {details!r}"
    return {**details, "attempts": [_placed(each, home=home) for each in attempts]}


def kept_log(details: Mapping[str, Json], *, home: Path) -> dict[str, Json] | None:
    """Return the end of what the newest attempt wrote, if its run folder lies in this home."""
    attempts = details["attempts"]
    assert isinstance(attempts, list), f"details without attempts: {details!r}"
    last = attempts[-1] if attempts else None
    if not isinstance(last, dict):
        return None
    folder = run_folder(home, factory=str(last["factory"]), folder=str(last["folder"]))
    path = folder / LOG_FILE if folder is not None else None
    if path is None or path.is_symlink() or not path.is_file():
        return None
    return {"job": details["job"], "path": str(path), "text": _tail(path)}


def log_end(tx: Transaction, product: ProductId, job: JobId, *, home: Path) -> dict[str, Json]:
    """Return the end of what the job's newest attempt wrote, and where in its factory's home all of it is."""
    details = job_details(tx, product, job)
    attempts = tx.jobs.attempts(job)
    last = attempts[-1] if attempts else None
    kept = kept_log(details, home=home)
    if last is not None and kept is not None:
        return kept | {"path": f"{last.folder}/{LOG_FILE}"}
    if last is None or last.started_at is None:
        raise NotFound(f"job {job} has written no log yet", fix="wait until it has started")
    raise NotFound(
        f"the log of job {job} is not on this machine: it ran on factory {last.factory}",
        fix=f"look there, in {FACTORIES}/{last.factory}/{last.folder} of that factory's home",
    )


def run_folder(home: Path, *, factory: str, folder: str) -> Path | None:
    """Return the run folder if it lies in this home, or in that of a factory which works for a server from here."""
    for found in (home / FACTORIES / factory / folder, home / folder):
        if found.resolve().is_relative_to(home.resolve()) and found.is_dir():
            return found
    return None


def _placed(attempt: Json, *, home: Path) -> Json:
    assert isinstance(attempt, dict), f"an attempt is told as an object: {attempt!r}"
    found = run_folder(home, factory=str(attempt["factory"]), folder=str(attempt["folder"]))
    return attempt if found is None else {**attempt, "folder": str(found)}


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - LOG_BYTES_MAX))
            return stream.read(LOG_BYTES_MAX).decode("utf-8", errors="replace")
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error.strerror}", fix="make it readable") from error


def _progress_words(attempt: Attempt | None) -> str | None:
    if attempt is None or attempt.progress is None or attempt.progress.step is None:
        return None
    total = attempt.progress.total
    return f"{attempt.progress.step}/{total if total is not None else 'unknown'}"


def _attempt_json(attempt: Attempt) -> dict[str, Json]:
    return {
        "epoch": attempt.epoch,
        "factory": attempt.factory,
        "folder": attempt.folder,
        "pid": attempt.pid,
        "claimed_at": attempt.claimed_at.isoformat(),
        "ended_at": attempt.ended_at.isoformat() if attempt.ended_at is not None else None,
        "seconds": attempt.seconds,
        "outcome": attempt.outcome.value if attempt.outcome is not None else None,
        "detail": attempt.detail,
        "exit_code": attempt.exit_code,
        "progress": _progress_words(attempt),
        "metrics": dict(attempt.metrics),
        "peak_memory_mb": attempt.peak_memory_mb,
    }
