"""Jobs: submit them, look at them, and act on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.canonical import Json
from pilothouse.errors import BadValue, NotFound, PreconditionFailed, Refused
from pilothouse.fleet.job import Job, Priority
from pilothouse.fleet.manifest import Children, Manifest
from pilothouse.fleet.stages import Stage
from pilothouse.fleet.wire import finite
from pilothouse.ids import JobId, ProductId, mint
from pilothouse.operations.audit import keep
from pilothouse.operations.find_job import find_job
from pilothouse.operations.job_queries import Page, artifacts_json, dag_json, events_json, job_json, job_page, runs_json
from pilothouse.operations.job_view import job_details, job_row, log_end
from pilothouse.operations.operate import decide, reject, requeue, ship, withdraw
from pilothouse.operations.submit_manifest import add_children, submit_manifest
from pilothouse.ports.store import Transaction
from pilothouse.web.answers import (
    ArtifactsAnswer,
    ChildrenAnswer,
    DagAnswer,
    DetailsAnswer,
    EventsAnswer,
    JobAnswer,
    JobsAnswer,
    LogAnswer,
    RunsAnswer,
    SubmittedAnswer,
)
from pilothouse.web.bodies import Change, take, take_children, take_manifest
from pilothouse.web.identity import Caller
from pilothouse.web.parts import JobPath, Parts, etag, expected_epoch, parts_of, route, told

router = APIRouter()
T = TypeVar("T")
PAGE_MAX = 1000
KEY_MAX = 200

Action = Callable[[Transaction, Job], Job]


@router.post(
    "/fleet/jobs", **route(answers={201: SubmittedAnswer, 200: SubmittedAnswer}, problems=(404, 409), body=Manifest)
)
async def submit_job(request: Request) -> Response:
    """Submit a job, with its children if it has some; under the same Idempotency-Key, the same body is the same job."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.SUBMIT)
    manifest = _keyed(await take_manifest(request), request.headers.get("idempotency-key"))
    product, now = caller.one, parts.clock.now()
    done = await parts.engine.apply_async(
        lambda tx: submit_manifest(tx, manifest, product=product, ids=new_ids(parts), now=now)
    )
    value = job_json(done.job) | {"children": [job.id for job in done.below if job.parent == done.job.id]}
    headers = etag(done.job.epoch) | {"Location": f"/fleet/jobs/{done.job.id}"}
    return told(value, status=201 if done.made else 200, headers=headers)


@router.get("/fleet/jobs", **route(answers={200: JobsAnswer}, problems=(404,)))
async def list_jobs(
    request: Request,
    stage: Annotated[Stage | None, Query()] = None,
    priority: Annotated[Priority | None, Query()] = None,
    campaign: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,100}$")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    summary: Annotated[bool | None, Query(description="Whether to tell what became of each job so far.")] = None,
) -> Response:
    """List the jobs of a product, newest first; `after` goes on where a page ended."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.READ)
    last = JobId(after) if after is not None else None
    page = Page(limit=limit, after=last, stage=stage, priority=priority, campaign=campaign)

    def query(tx: Transaction) -> dict[str, Json]:
        jobs, next_after = job_page(tx, caller.one, page)
        rows: list[Json] = [job_json(job) | (_summary(tx, job) if summary else {}) for job in jobs]
        return {"jobs": rows, "next": next_after}

    return told(await parts.read(query))


@router.get("/fleet/jobs/{job}", **route(answers={200: JobAnswer}, problems=(404,)))
async def show_job(request: Request, job: JobPath) -> Response:
    """Tell everything that is fixed about a job, and where it stands; its ETag is its epoch."""
    parts, caller = await _reader(request)

    def query(tx: Transaction) -> tuple[Job, dict[str, Json]]:
        found = seen_job(tx, caller, JobId(job))
        return found, tx.jobs.spec(found.id).as_json()

    found, spec = await parts.read(query)
    return told(job_json(found) | {"spec": spec}, headers=etag(found.epoch))


@router.patch("/fleet/jobs/{job}", **route(answers={200: JobAnswer}, problems=(404, 409, 412, 428), body=Change))
async def change_job(request: Request, job: JobPath) -> Response:
    """Ship, requeue, reject or cancel a job, or review what it has made; If-Match names the epoch that was seen."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)
    epoch = expected_epoch(request)
    body = await take(request, Change)
    reviewing = body.action in {"approve", "decline"}
    await parts.gate.admit_all(request, Permission.REVIEW if reviewing else Permission.OPERATE)
    by, now = _reviewer(caller, body, is_open=parts.gate.open_loopback), parts.clock.now()
    action = _action(body, by=by, parts=parts)

    def act(tx: Transaction) -> Job:
        found = seen_job(tx, caller, JobId(job))
        if found.epoch != epoch:
            raise PreconditionFailed(
                f"job {job} is {found.stage.value} at epoch {found.epoch}, and the change was meant for epoch {epoch}",
                fix="look at the job again, and repeat the change if it is still wanted",
            )
        changed = action(tx, found)
        note_change(tx, caller, f"job.{body.action}", found, changed, now=now)
        return changed

    changed = await parts.engine.apply_async(act)
    return told(job_json(changed), headers=etag(changed.epoch))


@router.post(
    "/fleet/jobs/{job}/children",
    **route(answers={201: ChildrenAnswer, 200: ChildrenAnswer}, problems=(404, 409), body=Children),
)
async def submit_children(request: Request, job: JobPath) -> Response:
    """Give children to a job that has not started; it will wait for them."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.SUBMIT)
    body = await take_children(request)
    now = parts.clock.now()

    def act(tx: Transaction) -> tuple[bool, list[Job]]:
        parent = seen_job(tx, caller, JobId(job))
        done = add_children(tx, parent.id, body.children, product=parent.product, ids=new_ids(parts), now=now)
        return done.made, list(done.below)

    made, jobs = await parts.engine.apply_async(act)
    return told({"jobs": [job_json(each) for each in jobs]}, status=201 if made else 200)


@router.get("/fleet/jobs/{job}/details", **route(answers={200: DetailsAnswer}, problems=(404,)))
async def show_details(request: Request, job: JobPath) -> Response:
    """Tell everything that is stored of the job: its spec, attempts, artifacts, incidents and history."""
    return told(finite(await _of_job(request, job, job_details)))


@router.get("/fleet/jobs/{job}/log", **route(answers={200: LogAnswer}, problems=(404,)))
async def show_log(request: Request, job: JobPath) -> Response:
    """Tell the end of what the job's newest attempt wrote, at most a MiB, if it ran on the server's own machine."""
    home = parts_of(request).home
    return told(await _of_job(request, job, partial(log_end, home=home)))


@router.get("/fleet/jobs/{job}/dag", **route(answers={200: DagAnswer}, problems=(404,)))
async def show_dag(request: Request, job: JobPath) -> Response:
    """Tell the job with everything below it, the stage of each, and what waits for what."""
    return told(await _of_job(request, job, dag_json))


@router.get("/fleet/jobs/{job}/runs", **route(answers={200: RunsAnswer}, problems=(404,)))
async def show_runs(request: Request, job: JobPath) -> Response:
    """Tell the job's attempts, oldest first."""
    return told({"runs": await _of_job(request, job, runs_json)})


@router.get("/fleet/jobs/{job}/events", **route(answers={200: EventsAnswer}, problems=(404,)))
async def show_events(request: Request, job: JobPath) -> Response:
    """Tell every move of the job, oldest first."""
    return told({"events": await _of_job(request, job, events_json)})


@router.get("/fleet/jobs/{job}/artifacts", **route(answers={200: ArtifactsAnswer}, problems=(404,)))
async def show_artifacts(request: Request, job: JobPath) -> Response:
    """Tell what the job has published."""
    return told({"artifacts": await _of_job(request, job, artifacts_json)})


def seen_job(tx: Transaction, caller: Caller, job: JobId) -> Job:
    """Return the job if it is of a product that the caller may see; another product's is as if it were not there."""
    found = find_job(tx, job)
    if not caller.sees(found.product):
        raise NotFound(f"no job has the id {job!r}", fix="list the jobs with `pilothouse job list`")
    return found


def note_change(tx: Transaction, caller: Caller, act: str, before: Job, after: Job, *, now: datetime) -> None:
    """Keep a line of the audit log about a person's act on a job."""
    moved = f"{before.stage.value} at epoch {before.epoch} to {after.stage.value} at epoch {after.epoch}"
    states = (job_json(before), job_json(after))
    keep(tx, act, before.id, actor=caller.actor, product=before.product, now=now, states=states, detail=moved)


def _summary(tx: Transaction, job: Job) -> dict[str, Json]:
    row = job_row(tx, job.product, job.id)
    return {"summary": {name: value for name, value in row.items() if name != "stage"}}


async def _reader(request: Request) -> tuple[Parts, Caller]:
    parts = parts_of(request)
    return parts, await parts.gate.admit_all(request, Permission.READ)


async def _of_job(request: Request, job: str, query: Callable[[Transaction, ProductId, JobId], T]) -> T:
    """Return what the query tells of a job that the caller may see."""
    parts, caller = await _reader(request)

    def ask(tx: Transaction) -> T:
        found = seen_job(tx, caller, JobId(job))
        return query(tx, found.product, found.id)

    return await parts.read(ask)


def _keyed(manifest: Manifest, header: str | None) -> Manifest:
    """Return the manifest under the key of the header; two keys that differ are refused."""
    if header is None:
        return manifest
    key = header.strip().strip('"')
    if not key or len(key) > KEY_MAX or not key.isprintable():
        raise BadValue(f"Idempotency-Key is {header!r:.80}", fix=f"send 1 to {KEY_MAX} printable letters")
    if manifest.idempotency_key not in {None, key}:
        raise BadValue(
            f"Idempotency-Key is {key!r}, and the body says {manifest.idempotency_key!r}", fix="send one of them only"
        )
    return manifest.model_copy(update={"idempotency_key": key})


def new_ids(parts: Parts) -> Iterator[JobId]:
    """Yield new names for jobs."""
    for _ in itertools.count():
        yield JobId(mint("job", now=parts.clock.now(), entropy=parts.clock.entropy()))


def _reviewer(caller: Caller, body: Change, *, is_open: bool) -> str:
    """Return who acts: the token's holder; on an open server whoever the body names."""
    if body.reviewer is None or body.reviewer == caller.name:
        return caller.name
    if caller.token is not None and not is_open:
        raise Refused(
            f"the token {caller.token.id} is {caller.token.name}'s, and speaks for nobody else",
            fix="leave reviewer out, or use that reviewer's own token",
        )
    return body.reviewer


def _action(body: Change, *, by: str, parts: Parts) -> Action:
    """Return what is to be done with a job of the expected epoch."""
    now, reason = parts.clock.now(), body.reason
    match body.action:
        case "ship":
            return lambda tx, job: ship(tx, job, by=by, now=now)
        case "requeue":
            return lambda tx, job: requeue(tx, job, by=by, reason=reason, now=now)
        case "reject":
            return lambda tx, job: reject(tx, job, by=by, reason=reason, now=now)
        case "cancel":
            return lambda tx, job: withdraw(tx, job, by=by, reason=reason, now=now)
        case "approve" | "decline":
            approved = body.action == "approve"
            return lambda tx, job: decide(tx, job, reviewer=by, approved=approved, reason=reason, now=now)
