"""Figures of the fleet: for Prometheus, for people, and for factories that wonder whether to ask."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.web.answers import FleetAnswer, QueueAnswer
from pilothouse.web.identity import Caller
from pilothouse.web.parts import parts_of, route, told
from pilothouse.web.snapshot import Snapshot, as_json, remembered, stored

router = APIRouter()
TEXT = {"description": "Prometheus' text form.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get("/metrics", **route(answers={200: None}, raw={200: TEXT}))
async def metrics(request: Request) -> Response:
    """Tell Prometheus how the fleet stands."""
    caller, snapshot = await _snapshot(request)
    text = parts_of(request).figures.text(snapshot, product=caller.product)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/fleet/metrics", **route(answers={200: FleetAnswer}))
async def fleet_metrics(request: Request) -> Response:
    """Tell how the fleet stands, with everything that a person should know."""
    _, snapshot = await _snapshot(request)
    return told(as_json(snapshot))


@router.get("/fleet/queue-state", **route(answers={200: QueueAnswer}))
async def queue_state(request: Request) -> Response:
    """Tell a number that grows whenever a job has changed, and nothing else: it is cheap to ask."""
    parts = parts_of(request)
    await parts.gate.admit_either(request, Permission.READ, Permission.WORK)
    return told({"version": parts.engine.changes})


async def _snapshot(request: Request) -> tuple[Caller, Snapshot]:
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)
    memory = await parts.engine.look_async(remembered)
    now = parts.clock.now()
    return caller, await parts.read(lambda tx: stored(tx, memory, product=caller.product, now=now))
