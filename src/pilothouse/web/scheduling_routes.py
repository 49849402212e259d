"""Why jobs are where they are, who would make room for whom, and how a product wants its jobs placed."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.canonical import Json
from pilothouse.engine.preempting import Planned, Preemption
from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import Conflict, Refused
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Job
from pilothouse.fleet.place import microseconds
from pilothouse.fleet.preemption import Eviction
from pilothouse.fleet.settings import settings_from_json
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, ProductId
from pilothouse.operations.audit import keep
from pilothouse.ports.store import Transaction
from pilothouse.web.answers import ExplainAnswer, PreemptionAnswer, SettingsAnswer
from pilothouse.web.bodies import FleetTable, PreemptionOrder, take
from pilothouse.web.explaining import Asked, explained, stored
from pilothouse.web.identity import Caller
from pilothouse.web.job_routes import note_change, seen_job
from pilothouse.web.parts import JobPath, ProductPath, parts_of, route, told

router = APIRouter()


@router.get("/fleet/jobs/{job}/explain", **route(answers={200: ExplainAnswer}, problems=(404,)))
async def explain_job(request: Request, job: JobPath) -> Response:
    """Tell why the job runs where it runs, or what keeps it from running; the first reason is the headline."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)

    def query(tx: Transaction) -> Asked:
        return stored(tx, seen_job(tx, caller, JobId(job)))

    asked = await parts.read(query)
    return told((await explained(parts, asked, now=parts.clock.now())).as_json())


@router.post("/fleet/preemptions", **route(answers={200: PreemptionAnswer}, problems=(404, 409), body=PreemptionOrder))
async def preempt(request: Request) -> Response:
    """Tell who would make room for a job; without the dry run, let them, if the product allows it."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)
    body = await take(request, PreemptionOrder)
    if not body.dry_run:
        await parts.gate.admit_all(request, Permission.OPERATE)
    job = await parts.read(lambda tx: seen_job(tx, caller, JobId(body.job)))
    if job.stage is not Stage.QUEUED:
        raise Conflict(f"job {job.id} is {job.stage.value}, and waits for no room", fix="ask for one that is queued")
    now = parts.clock.now()
    enabled, planned = await parts.engine.look_async(lambda scheduler: _planned(scheduler, job, now=now))
    if not body.dry_run and not enabled:
        raise Refused(
            f"product {job.product} allows no preemption",
            fix=f"let an operator switch it on: PUT /fleet/settings/{job.product}",
        )
    if not body.dry_run:
        await parts.engine.apply_async(lambda tx: note_change(tx, caller, "job.preempt", job, job, now=now))
        await parts.engine.look_async(_hurry)
    value = await parts.read(lambda tx: _told(tx, caller, job, planned))
    return told(value | {"dry_run": body.dry_run, "enabled": enabled})


@router.get("/fleet/settings/{product}", **route(answers={200: SettingsAnswer}))
async def show_settings(request: Request, product: ProductPath) -> Response:
    """Tell how the product's jobs are placed and preempted."""
    parts = parts_of(request)
    await parts.gate.admit_for(request, Permission.READ, ProductId(product))
    return told((await parts.read(lambda tx: tx.fleet_settings.get(ProductId(product)))).as_json())


@router.put("/fleet/settings/{product}", **route(answers={200: SettingsAnswer}, body=FleetTable))
async def put_settings(request: Request, product: ProductPath) -> Response:
    """Set how the product's jobs are placed and preempted; what is left out has its default."""
    parts = parts_of(request)
    caller = await parts.gate.admit_for(request, Permission.OPERATE, ProductId(product))
    body = await take(request, FleetTable)
    settings = settings_from_json(body.model_dump(exclude_unset=True))
    who, now, named = caller.name, parts.clock.now(), ProductId(product)

    def act(tx: Transaction) -> None:
        states = (tx.fleet_settings.get(named).as_json(), settings.as_json())
        tx.fleet_settings.put(named, settings, who=who, now=now)
        keep(tx, "settings.set", named, actor=caller.actor, product=named, now=now, states=states)

    await parts.engine.apply_async(act)
    return told(settings.as_json())


def _planned(scheduler: Scheduler, job: Job, *, now: datetime) -> tuple[bool, Planned]:
    ready = Ready(
        job.number, job.shape, job.priority.rank, microseconds(job.created_at), job.epoch, job.marks, job.preemptions
    )
    return scheduler.settings_of(job.product).preemption, Preemption(scheduler, now=now).plan(ready)


def _hurry(scheduler: Scheduler) -> None:
    scheduler.urgent = True


def _told(tx: Transaction, caller: Caller, job: Job, planned: Planned) -> dict[str, Json]:
    decision = planned.decision
    if not isinstance(decision, Eviction):
        return {"job": job.id, "factory": None, "victims": [], "lost_seat_seconds": 0.0, "detail": decision.detail}
    victims: list[Json] = []
    for victim in decision.victims:
        stored_victim = tx.jobs.by_number(victim.job)
        assert stored_victim is not None, f"the board knows a job that is not stored: {victim.job}"
        if not caller.sees(stored_victim.product):
            continue
        victims.append(
            {
                "job": stored_victim.id,
                "priority": victim.priority.value,
                "seats": victim.seats,
                "running_seconds": victim.running_seconds,
                "lost_seconds": victim.lost_seconds,
            }
        )
    return {
        "job": job.id,
        "factory": decision.factory,
        "victims": victims,
        "lost_seat_seconds": decision.lost_seat_seconds,
        "detail": f"{len(decision.victims)} jobs on {decision.factory} would make room for it",
    }
