"""What factories ask: work, leases, and to be heard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.canonical import Json
from pilothouse.errors import BadValue, LeaseLost, NotFound, OperationFailed, PilothouseError
from pilothouse.factory.messages import beat_as_json
from pilothouse.fleet.job import Outcome, Progress, Report
from pilothouse.fleet.wire import least_as_json, progress_from_json, report_from_json
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.claim import Handover
from pilothouse.operations.factories import known_factory
from pilothouse.operations.find_job import lease_lost
from pilothouse.operations.start import start
from pilothouse.ports.dispatch import Held
from pilothouse.ports.store import Transaction
from pilothouse.web import problems
from pilothouse.web.answers import BeatAnswer, OffersAnswer, ResultsAnswer
from pilothouse.web.bodies import (
    Claim,
    Complete,
    EndedLease,
    Facts,
    FromFactory,
    Heartbeat,
    HeldLease,
    Lease,
    Release,
    Start,
    take,
)
from pilothouse.web.factory_routes import described
from pilothouse.web.identity import Caller, check_factory
from pilothouse.web.job_routes import seen_job
from pilothouse.web.parts import Parts, parts_of, route, told
from pilothouse.web.short_way import Endpoint

router = APIRouter()
WHOLE_MAX = (1 << 53) - 1
TEXT_MAX = 1 << 20
SILENT: Mapping[str, Json] = {
    "cost": {"usd": None, "gpu_hours": None, "tokens": None},
    "peak_memory_mb": None,
    "damaged": None,
    "evidence": "",
}
"""What a report may leave unsaid."""

Ended = tuple[JobId, Epoch, Report]
Spoken = TypeVar("Spoken", bound=FromFactory)


@router.post("/fleet/claim", **route(answers={200: OffersAnswer}, problems=(404, 409), body=Claim))
async def claim(request: Request) -> Response:
    """Wait for jobs; what was assigned to this boot and is not among `held` is offered again."""
    parts = parts_of(request)
    began = parts.clock.monotonic()
    _, body = await _from_factory(request, Claim)
    nothing: Sequence[Handover] = ()
    handed = await parts.waiting.wait(
        parts.engine.claim_async(
            factory=FactoryName(body.factory),
            boot=BootId(body.boot),
            wait_seconds=body.wait_seconds,
            seats=body.seats,
            held=[(JobId(lease.job), Epoch(lease.epoch)) for lease in body.held],
            pools=body.pools,
            jobs=body.jobs,
            weights=body.weights,
        ),
        nothing,
    )
    parts.figures.claimed(handed, seconds=parts.clock.monotonic() - began)
    return Response(_offers(handed, lease_seconds=parts.engine.lease_seconds), media_type="application/json")


@router.post("/fleet/complete", **route(answers={200: ResultsAnswer}, problems=(404, 409), body=Complete))
async def complete(request: Request) -> Response:
    """Take in how attempts ended; a report that stands alone and is refused is answered with its own problem."""
    parts = parts_of(request)
    caller, body = await _from_factory(request, Complete)
    return await _ended(
        parts, caller, FactoryName(body.factory), [_read(ended) for ended in body.reports], body.reports
    )


@router.post("/fleet/leases/release", **route(answers={200: ResultsAnswer}, problems=(404, 409), body=Release))
async def release(request: Request) -> Response:
    """Take attempts back that the factory will not run; it counts as no failure of theirs."""
    parts = parts_of(request)
    caller, body = await _from_factory(request, Release)
    report = Report(outcome=Outcome.PREEMPTED, detail=body.why, exit_code=None, metrics={}, artifacts=(), seconds=0.0)
    ended = [(JobId(lease.job), Epoch(lease.epoch), report) for lease in body.leases]
    return await _ended(parts, caller, FactoryName(body.factory), ended, body.leases)


@router.post("/fleet/leases/start", **route(answers={204: None}, problems=(404, 409), body=Start))
async def start_attempt(request: Request) -> Response:
    """Note that the attempt's process runs."""
    parts = parts_of(request)
    caller, body = await _from_factory(request, Start)
    job, epoch, now = JobId(body.job), Epoch(body.epoch), parts.clock.now()

    def act(tx: Transaction) -> None:
        found = seen_job(tx, caller, job)
        if found.factory != body.factory:
            raise lease_lost(found, held=epoch)
        start(
            tx,
            job,
            epoch=epoch,
            pid=body.pid,
            pid_started=body.pid_started,
            now=now,
            resume_step=body.resume_step,
        )

    await parts.engine.apply_async(act)
    return Response(status_code=204)


@router.post("/fleet/factories/heartbeat", **route(answers={200: BeatAnswer}, problems=(404, 409), body=Heartbeat))
async def heartbeat(request: Request) -> Response:
    """Renew every lease of the factory, keep the signs of life, and tell it what to do."""
    parts = parts_of(request)
    _, body = await _from_factory(request, Heartbeat)
    held = [_held(lease) for lease in body.held]
    if body.facts is not None:
        await _describe(parts, FactoryName(body.factory), body.facts)
    beat = await parts.engine.beat_async(factory=FactoryName(body.factory), boot=BootId(body.boot), held=held)
    return told(beat_as_json(beat))


@router.post("/fleet/leases/renew", **route(answers={200: BeatAnswer}, problems=(404, 409), body=Heartbeat))
async def renew(request: Request) -> Response:
    """Renew leases; a factory's lease is its session, so this is its heartbeat under another name."""
    return await heartbeat(request)


OFTEN: Mapping[str, Endpoint] = {
    "/fleet/claim": claim,
    "/fleet/complete": complete,
    "/fleet/leases/start": start_attempt,
    "/fleet/leases/renew": renew,
    "/fleet/factories/heartbeat": heartbeat,
}
"""What factories ask all the time."""


async def _from_factory(request: Request, model: type[Spoken]) -> tuple[Caller, Spoken]:
    """Return who speaks and what a factory says, once it is clear that it may speak, and for itself."""
    caller = await parts_of(request).gate.admit_all(request, Permission.WORK)
    body = await take(request, model)
    check_factory(caller, body.factory)
    return caller, body


async def _describe(parts: Parts, name: FactoryName, facts: Facts) -> None:
    """Keep what the factory says of itself, if it is new; its product and its state are not its own to say."""
    known = await parts.engine.look_async(lambda scheduler: scheduler.roster.factories.get(name))
    if known is None:
        raise NotFound(f"no factory {name} has enrolled", fix="enrol it: `pilothouse factory enroll`")
    told_now = replace(described(facts, name), product=known.product, state=known.state)
    if told_now != known:
        now = parts.clock.now()

        def act(tx: Transaction) -> None:
            # It may have been drained or revoked meanwhile, and that stays.
            found = known_factory(tx, name, product=None)
            tx.factories.put(replace(told_now, product=found.product, state=found.state), now=now)

        await parts.engine.apply_async(act)


async def _ended(
    parts: Parts, caller: Caller, factory: FactoryName, read: Sequence[Ended | BadValue], leases: Sequence[Lease]
) -> Response:
    """Return one result per attempt, in order; of a job of another product not even that it is there."""
    good = [ended for ended in read if not isinstance(ended, BadValue)]
    refusals = iter(await parts.engine.complete_async(good, factory=factory) if good else ())
    results: list[Exception | None] = [each if isinstance(each, BadValue) else next(refusals) for each in read]
    if caller.product is not None and any(isinstance(each, LeaseLost) for each in results):
        results = await parts.read(
            lambda tx: [_as_seen(tx, caller, *each) for each in zip(leases, results, strict=True)]
        )
    parts.figures.completed([ended for ended, result in zip(read, results, strict=True) if result is None])
    if len(results) == 1 and results[0] is not None:
        raise results[0]
    return told({"results": [_result(lease, error) for lease, error in zip(leases, results, strict=True)]})


def _as_seen(tx: Transaction, caller: Caller, lease: Lease, error: Exception | None) -> Exception | None:
    try:
        if isinstance(error, LeaseLost):
            seen_job(tx, caller, JobId(lease.job))
    except NotFound as unseen:
        return unseen
    return error


def _result(lease: Lease, error: Exception | None) -> dict[str, object]:
    problem = None
    if error is not None:
        known = error if isinstance(error, PilothouseError) else _unknown(error)
        problem = problems.as_problem(known).model_dump(exclude_none=True)
    return {"job": lease.job, "epoch": lease.epoch, "accepted": error is None, "problem": problem}


def _unknown(error: Exception) -> OperationFailed:
    problems.unforeseen(error)
    return OperationFailed("the server failed on this report", fix="send it again; look at the server's log")


def _read(ended: EndedLease) -> Ended | BadValue:
    """Return the report, or what is wrong with it: one bad report in a batch is no harm to the others."""
    try:
        given: dict[str, Json] = {**SILENT, **ended.report}
        cost = given["cost"]
        if isinstance(cost, Mapping):
            given["cost"] = {"usd": None, "gpu_hours": None, "tokens": None, **cost}
        return JobId(ended.job), Epoch(ended.epoch), _checked(report_from_json(given))
    except BadValue as error:
        return error


def _checked(report: Report) -> Report:
    """Return the report if every store can hold it."""
    wholes = {"exit_code": report.exit_code} | {
        f"artifacts.{artifact.name}": artifact.size_bytes for artifact in report.artifacts
    }
    for name, whole in wholes.items():
        if whole is not None and not -WHOLE_MAX <= whole <= WHOLE_MAX:
            raise BadValue(f"report.{name} is {whole}", fix="send a number that fits 53 bits")
    for name, number in {"seconds": report.seconds, "peak_memory_mb": report.peak_memory_mb}.items():
        if number is not None and not (math.isfinite(number) and 0 <= number <= WHOLE_MAX):
            raise BadValue(f"report.{name} is {number}", fix="send a finite number from 0")
    for name, text in {"detail": report.detail, "evidence": report.evidence}.items():
        if len(text) > TEXT_MAX:
            raise BadValue(f"report.{name} has {len(text)} letters", fix=f"send at most {TEXT_MAX}")
    return report


def _held(lease: HeldLease) -> Held:
    progress = None
    if lease.progress is not None:
        progress = _bounded(progress_from_json({"checkpoint_step": None, **lease.progress}))
    return Held(job=JobId(lease.job), epoch=Epoch(lease.epoch), progress=progress)


def _bounded(progress: Progress) -> Progress:
    steps = {"step": progress.step, "total": progress.total, "checkpoint_step": progress.checkpoint_step}
    for name, step in steps.items():
        if step is not None and not -WHOLE_MAX <= step <= WHOLE_MAX:
            raise BadValue(f"progress.{name} is {step}", fix="send a number that fits 53 bits")
    return progress


def _offers(handed: Sequence[Handover], *, lease_seconds: float) -> bytes:
    """Return the answer to a claim; a spec is stored as JSON and goes out as it is."""
    return b'{"offers":[' + b",".join(_offer(each, lease_seconds=lease_seconds) for each in handed) + b"]}"


def _offer(handed: Handover, *, lease_seconds: float) -> bytes:
    told_first = to_json(
        {
            "job": handed.job,
            "epoch": handed.epoch,
            "product": handed.product,
            "key": handed.key,
            "folder": handed.folder,
            "lease_seconds": lease_seconds,
            "earlier_folders": list(handed.earlier_folders),
            "least": None if handed.least is None else least_as_json(handed.least),
        }
    )
    return told_first[:-1] + b',"spec":' + handed.spec.encode() + b"}"
