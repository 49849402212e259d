"""What requests carry, as strict models, and the one way to read them.

A body is read after its sender was let in: who has no token is not told what was wrong with it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, WithJsonSchema
from pydantic_core import from_json
from starlette.requests import Request

from pilothouse.fleet.job import Outcome
from pilothouse.fleet.manifest import Children, Manifest, read_children, read_manifest
from pilothouse.web.problems import Malformed, invalid

BATCH_MAX = 256
"""Reports or leases in one request."""
WAIT_SECONDS_MAX = 60.0
HELD_MAX = 4096
SECONDS_MAX = 400 * 86400

Model = TypeVar("Model", bound=BaseModel)

JobName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Line = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
Figure = Annotated[float, Field(ge=0, le=1e12)]
Whole = Annotated[int, Field(ge=0, le=(1 << 53) - 1)]
Seconds = Annotated[float, Field(ge=0, le=SECONDS_MAX)]

_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_COST = {
    "type": "object",
    "properties": {name: {"type": ["number", "null"], "minimum": 0} for name in ("usd", "gpu_hours", "tokens")},
}
PROGRESS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "The last sign of life of a running attempt.",
    "properties": {
        "step": {"type": ["integer", "null"]},
        "total": {"type": ["integer", "null"]},
        "values": {"type": "object", "additionalProperties": _NUMBER},
        "checkpoint_step": {"type": ["integer", "null"]},
    },
    "required": ["step", "total", "values"],
}
REPORT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "How an attempt ended.",
    "properties": {
        "outcome": {"enum": [outcome.value for outcome in Outcome]},
        "detail": {"type": "string"},
        "exit_code": {"type": ["integer", "null"]},
        "metrics": {"type": "object", "additionalProperties": _NUMBER},
        "artifacts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "digest": {"type": "string"},
                    "size_bytes": {"type": "integer", "minimum": 0},
                    "meta": {"type": "object"},
                },
                "required": ["name", "digest", "size_bytes", "meta"],
            },
        },
        "seconds": {"type": "number", "minimum": 0},
        "cost": _COST,
        "peak_memory_mb": {"type": ["number", "null"]},
        "damaged": {"type": ["string", "null"]},
        "evidence": {"type": "string"},
    },
    "required": ["outcome", "detail", "exit_code", "metrics", "artifacts", "seconds"],
}
ProgressValue = Annotated[dict[str, JsonValue], WithJsonSchema(PROGRESS_SCHEMA)]
ReportValue = Annotated[dict[str, JsonValue], WithJsonSchema(REPORT_SCHEMA)]


class Body(BaseModel):
    """A JSON object with these keys and no other, each of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Lease(Body):
    """An attempt by its job and epoch."""

    job: JobName
    epoch: Whole


class HeldLease(Lease):
    """An attempt that a factory holds, with its last sign of life."""

    progress: ProgressValue | None = None


class Facts(Body):
    """What a factory is and can."""

    seats: Annotated[int, Field(ge=1, le=10_000)] = 1
    gpus: Annotated[int, Field(ge=0, le=10_000)] = 0
    capabilities: Annotated[list[Line], Field(max_length=200)] = []
    engines: Annotated[list[Word], Field(max_length=100)] = []
    pools: Annotated[list[Slug], Field(max_length=100)] | None = None
    load: Annotated[float, Field(ge=0, le=1)] | None = None
    usd_per_hour: Figure | None = None


class Enrolment(Facts):
    """A factory that asks for its worker's key."""

    name: Word


class FromFactory(Body):
    """What every word of a factory carries: its name and its boot."""

    factory: Word
    boot: Word


class Heartbeat(FromFactory):
    """A factory lives, and holds these attempts."""

    held: Annotated[list[HeldLease], Field(max_length=HELD_MAX)] = []
    facts: Facts | None = None


class Claim(FromFactory):
    """A factory asks for jobs, and waits for them."""

    wait_seconds: Annotated[float, Field(ge=0, le=WAIT_SECONDS_MAX)] = 0.0
    seats: Annotated[int, Field(ge=0, le=10_000)] = 1
    held: Annotated[list[Lease], Field(max_length=HELD_MAX)] = []
    pools: Annotated[list[Slug], Field(max_length=100)] | None = None
    jobs: Annotated[int, Field(ge=1, le=BATCH_MAX)] = 1
    weights: Annotated[dict[Word, Figure], Field(max_length=20)] | None = None


class Start(FromFactory, Lease):
    """An attempt's process runs."""

    pid: Annotated[int, Field(ge=1, le=(1 << 31) - 1)]
    pid_started: Annotated[float, Field(ge=0)]
    resume_step: Whole | None = None


class Release(FromFactory):
    """A factory gives attempts back that it will not run."""

    leases: Annotated[list[Lease], Field(min_length=1, max_length=BATCH_MAX)]
    why: Line = "released by the factory"


class EndedLease(Lease):
    """How one attempt ended."""

    report: ReportValue


class Complete(FromFactory):
    """How attempts ended."""

    reports: Annotated[list[EndedLease], Field(min_length=1, max_length=BATCH_MAX)]


class Change(Body):
    """What is to be done with a job. `reviewer` is heard on an open server only; elsewhere the token tells."""

    action: Literal["ship", "requeue", "reject", "cancel", "approve", "decline"]
    reason: Line = ""
    reviewer: Line | None = None


class Why(Body):
    """An act with the reason that histories keep."""

    reason: Line = ""


class Approve(Body):
    """A yes to a proposal, for so long: a number with s, m, h or d."""

    reason: Line = ""
    expires_in: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[smhd]$")] = "1d"


class Reject(Body):
    """A no to a proposal; whoever proposes next is told why."""

    reason: Line


class Empty(Body):
    """An act that needs no words."""


class Ceiling(Body):
    """A budget: its ceilings, None for none, over a window. Unless enforced it only raises alerts."""

    usd: Figure | None = None
    gpu_hours: Figure | None = None
    tokens: Figure | None = None
    window_seconds: Annotated[int, Field(ge=60, le=10 * 366 * 86_400)] = 86_400
    enforced: bool = False


class NewEnrolment(Body):
    """A one-time token for one factory; without a product it enrols for all of them."""

    product: Slug | None = None
    expires_seconds: Annotated[float, Field(ge=1, le=30 * 86_400)] = 3600.0


class NewToken(Body):
    """A token for a person or a program; without a product it is good for all of them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$")]
    role: Literal["viewer", "proposer", "approver", "operator", "admin"]
    product: Slug | None = None
    expires_seconds: Annotated[float, Field(ge=1, le=SECONDS_MAX)] | None = None


class FleetTable(Body):
    """How a product's jobs are placed and preempted."""

    weights: Annotated[dict[Word, Annotated[float, Field(ge=0, le=1e6)]], Field(max_length=20)] = {}
    preemption: bool = False
    min_running_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    stop_grace_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30.0


class PreemptionOrder(Body):
    """A job that others shall make room for; a dry run only tells who would."""

    job: JobName
    dry_run: bool = True


BODIES: tuple[type[BaseModel], ...] = (
    *Body.__subclasses__(),
    *FromFactory.__subclasses__(),
    Children,
    Enrolment,
    Manifest,
)
"""Every model that a route may take, for the contract."""


async def take(request: Request, model: type[Model]) -> Model:
    """Return the request's body as the model, or raise what says where it is wrong."""
    raw = await _json_bytes(request)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error, where="body") from None


async def take_manifest(request: Request) -> Manifest:
    """Return the job that the request submits."""
    return read_manifest(_decoded(await _json_bytes(request)))


async def take_children(request: Request) -> Children:
    """Return the children that the request adds."""
    return read_children(_decoded(await _json_bytes(request)))


async def _json_bytes(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json":
        raise Malformed(f"the body is {kind!r:.80}", fix="send it as application/json", status=415)
    return await request.body()


def _decoded(raw: bytes) -> object:
    try:
        value: object = from_json(raw)
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}", fix="send one JSON object in UTF-8", status=400) from None
    return value
