"""The manifest of a job: what a person, an agent or a script writes to have work done.

One strict model serves the body of a request and a file in TOML or JSON. Unknown keys, wrong types and contradictions
are refused with the path of the field, the value and the mend. The dashed spellings `deps-mode`, `idempotency-key`,
`min-running-time`, `prefers-engine`, `review-policy` and their like are read as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NoReturn, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from pilothouse.canonical import digest
from pilothouse.errors import BadValue
from pilothouse.fleet.capability import PATTERN, TEXT_MAX, parse_all
from pilothouse.fleet.duration import parse_duration
from pilothouse.fleet.job import ChildrenPolicy, Cost, DepsMode, JobSpec, Priority, Ship
from pilothouse.ids import ArtifactDigest
from pilothouse.knobs.config import nearest

"""Bytes of a whole manifest, children and all."""
AMOUNT_MAX = 1e9
"""Dollars, or GPU hours, of one attempt."""
TOKENS_MAX = 1e12
DEPTH_MAX = 40
"""Objects and lists inside one another."""
DURATION_SECONDS_MAX = 366 * 86400.0
GENERATIONS_MAX = 8
JOBS_MAX = 1000
"""Jobs that one manifest may ask for."""

_SHOWN = 80
_REASONS = {
    "string_type": "it is no text",
    "int_type": "it is no whole number",
    "float_type": "it is no number",
    "tuple_type": "it is no list",
    "dict_type": "it is no object",
    "model_type": "it is no object",
    "string_pattern_mismatch": "it has not the form that it must have",
    "enum": "there is no such word",
    "missing": "it is missing",
}
_SYNONYMS = {"review_policy": "review", "dependsOn": "depends_on"}
_FIXES = {
    "seats": "give a whole number from 1 to 10000",
    "gpus": "give a whole number from 0 to 10000",
    "memory_gb": "give a number of gigabytes from 0 to 1000000",
    "retry": "give the number of further starts after a failure, from 0 to 100",
    "priority": f"write one of {', '.join(Priority)}",
    "deps_mode": f"write one of {', '.join(DepsMode)}",
    "children_policy": f"write one of {', '.join(ChildrenPolicy)}",
    "ship": f"write one of {', '.join(Ship)}",
    "usd": f"give a number of dollars from 0 to {AMOUNT_MAX:.0f}, or leave it out",
    "gpu_hours": f"give a number of hours from 0 to {AMOUNT_MAX:.0f}, or leave it out",
    "tokens": f"give a number from 0 to {TOKENS_MAX:.0f}, or leave it out",
    "command": 'write a list of texts, such as ["python", "train.py"]',
    "verify": 'write a list of texts, such as ["pytest", "-q"]',
    "artifacts": "give each a name of letters, digits, dots, dashes and underscores",
    "inputs": "give each name a list of digests, 64 hex digits each",
    "seed": "give a whole number from 0 to 9223372036854775807",
    "name": "write small letters, digits, dots, dashes and underscores",
    "pool": "write small letters, digits and dashes",
}


def _refuse(message: str, fix: str) -> NoReturn:
    raise PydanticCustomError("refused", "{message}", {"message": message, "fix": fix})


def _duration(text: str) -> str:
    try:
        seconds = parse_duration(text)
    except ValueError:
        _refuse("it is no duration", "write a number and one of s, m, h, d, such as 90s, 45m, 2h or 1d")
    if seconds > DURATION_SECONDS_MAX:
        _refuse("it is longer than a year", "write 366d or less")
    return text


def _capabilities(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(requirement) for requirement in parse_all(texts))
    except BadValue as error:
        _refuse(error.message.removeprefix("capabilities: ").rstrip("."), error.fix.rstrip("."))


def _unique(texts: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((text for place, text in enumerate(texts) if text in texts[:place]), None)
    if twice is not None:
        _refuse(f"{twice!r} stands twice", "name each once")
    return texts


def _argv(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts[0].strip():
        _refuse("it names no program", "begin with the program")
    return texts


def _inside(path: str) -> str:
    if path.startswith(("/", "~")) or ".." in re.split(r"[/\\]", path):
        _refuse("it leads out of the factory's work folder", "write a path below that folder, such as repo/tools")
    return path


_DURATION_SCHEMA = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?[smhd]\s*$"}
Duration = Annotated[str, AfterValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
Line = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=63)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Argument = Annotated[str, Field(max_length=65536)]
Argv = Annotated[tuple[Argument, ...], Field(min_length=1, max_length=1000, strict=False), AfterValidator(_argv)]
Names = Annotated[tuple[Name, ...], Field(max_length=1000, strict=False), AfterValidator(_unique)]
Lines = Annotated[tuple[Line, ...], Field(max_length=1000, strict=False), AfterValidator(_unique)]
Capability = Annotated[str, WithJsonSchema({"type": "string", "pattern": PATTERN, "maxLength": TEXT_MAX})]
Capabilities = Annotated[tuple[Capability, ...], Field(max_length=100, strict=False), AfterValidator(_capabilities)]
Folder = Annotated[Line, AfterValidator(_inside)]

Path: TypeAlias = "tuple[str | int, ...]"


class Table(BaseModel):
    """An object of a manifest: no unknown keys, no coercion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_dashes(cls, value: object) -> object:
        """Return the object with each dashed spelling of a field as the field's own name."""
        if not isinstance(value, Mapping):
            return value
        read: dict[object, object] = {}
        for key, item in value.items():
            name = _field_name(key, cls.model_fields)
            if name in read:
                _refuse(f"{name!r} is written twice, once as {key!r}", f"keep {name!r} only")
            read[name] = item
        return read


class Budget(Table):
    """What one attempt may use; what is left out is unknown, which is never zero."""

    usd: Annotated[float, Field(ge=0, le=AMOUNT_MAX)] | None = None
    gpu_hours: Annotated[float, Field(ge=0, le=AMOUNT_MAX)] | None = None
    tokens: Annotated[float, Field(ge=0, le=TOKENS_MAX)] | None = None


class ReviewPolicy(Table):
    """How many different reviewers must approve a success, and who may; nobody named means anybody."""

    approvals: int = Field(default=0, ge=0, le=100)
    reviewers: Lines = ()

    @model_validator(mode="after")
    def _can_be_met(self) -> ReviewPolicy:
        if self.reviewers and self.approvals > len(self.reviewers):
            _refuse(
                f"{self.approvals} approvals can never come from {len(self.reviewers)} reviewers",
                "lower approvals, or name more reviewers",
            )
        return self


class Work(Table):
    """What a job and a child have in common."""

    kind: Slug | None = None
    engine: Name | None = None
    body: str = ""
    command: Argv | None = None
    cwd: Folder | None = None
    lock: Line | None = None
    timeout: Duration = "2h"
    grace: Duration = "10s"
    silent_after: Duration = "10m"
    min_running_time: Duration | None = None
    verify: Argv | None = None
    priority: Annotated[Priority, Field(strict=False)] = Priority.MEDIUM
    capabilities: Capabilities = ()
    prefers_engine: Name | None = None
    deps: Lines = ()
    deps_mode: Annotated[DepsMode, Field(strict=False)] = DepsMode.HARD
    retry: int = Field(default=1, ge=0, le=100)
    budget: Budget = Budget()
    review: ReviewPolicy = ReviewPolicy()
    ship: Annotated[Ship, Field(strict=False)] = Ship.AUTO
    artifacts: Names = ()
    metrics: Lines = ()
    seats: int = Field(default=1, ge=1, le=10_000)
    gpus: int = Field(default=0, ge=0, le=10_000)
    memory_gb: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    pool: Slug = "local"
    config: dict[str, JsonValue] = {}
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    inputs: dict[Name, Annotated[tuple[Digest, ...], Field(strict=False)]] = {}
    campaign: Annotated[str, Field(max_length=200)] = ""
    trial: int = Field(default=0, ge=0, lt=1 << 31)
    children: Annotated[tuple[Child, ...], Field(max_length=JOBS_MAX, strict=False)] = ()
    children_policy: Annotated[ChildrenPolicy, Field(strict=False)] = ChildrenPolicy.SHIPPED

    @model_validator(mode="after")
    def _has_one_thing_to_do(self) -> Work:
        if (self.engine is None) == (self.command is None):
            found = "neither an engine nor a command" if self.engine is None else "both an engine and a command"
            _refuse(f"it has {found}", "give exactly one: engine with body, or command")
        if self.engine is not None and not self.body.strip():
            _refuse(f"the engine {self.engine} has nothing to do", "give the task as body")
        if self.command is not None and self.body:
            _refuse("a body goes to an engine, and there is none", "name the engine, or drop body")
        return self

    def to_spec(self) -> JobSpec:
        """Return the spec that an attempt works by. A job that works in a folder through an engine locks the folder."""
        folder = self.cwd or ""
        lock = folder if self.lock is None and self.engine is not None else self.lock
        minimum = self.min_running_time
        return JobSpec(
            kind=self.kind or ("agent" if self.engine is not None else "command"),
            command=self.command or (),
            config=self.config,
            seed=self.seed,
            campaign=self.campaign,
            trial=self.trial,
            inputs={name: tuple(ArtifactDigest(text) for text in texts) for name, texts in self.inputs.items()},
            artifacts=self.artifacts,
            metrics=self.metrics,
            seats=self.seats,
            memory_gb=self.memory_gb,
            timeout_seconds=parse_duration(self.timeout),
            grace_seconds=parse_duration(self.grace),
            silent_after_seconds=parse_duration(self.silent_after),
            restarts=self.retry,
            engine=self.engine or "",
            body=self.body,
            cwd=folder,
            lock=lock or "",
            verify=self.verify or (),
            requires=self.capabilities,
            prefers_engine=self.prefers_engine or "",
            deps=self.deps,
            deps_mode=self.deps_mode,
            children_policy=self.children_policy,
            gpus=self.gpus,
            cost=Cost(usd=self.budget.usd, gpu_hours=self.budget.gpu_hours, tokens=self.budget.tokens),
            approvals=self.review.approvals,
            reviewers=self.review.reviewers,
            ship=self.ship,
            min_running_seconds=0.0 if minimum is None else parse_duration(minimum),
        )


class Child(Work):
    """A job inside another: its key follows from its parent's and its `name`; `depends_on` names its siblings."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=63)]
    depends_on: Lines = ()


class Manifest(Work):
    """A job as it is submitted. `idempotency_key` makes submitting it twice the same as once."""

    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _holds_plain_values(cls, value: object) -> object:
        return _plain(value)

    @model_validator(mode="after")
    def _is_of_bounded_size(self) -> Manifest:
        _count(self.children, generation=1)
        return self

    def digest(self) -> str:
        """Return the digest of all that was asked for, children and all, by which a reused key is told from another."""
        return digest(self.model_dump(mode="json", exclude={"idempotency_key"}, exclude_defaults=True))


class Children(Table):
    """Children that are given to a job later."""

    children: Annotated[tuple[Child, ...], Field(min_length=1, max_length=JOBS_MAX, strict=False)]

    @model_validator(mode="before")
    @classmethod
    def _holds_plain_values(cls, value: object) -> object:
        return _plain(value)

    @model_validator(mode="after")
    def _is_of_bounded_size(self) -> Children:
        _count(self.children, generation=1)
        return self


def read_manifest(value: object) -> Manifest:
    """Return the manifest that a decoded object holds, or raise `BadValue`."""
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise refusal(error) from None


def read_children(value: object) -> Children:
    """Return the children that a decoded object holds, or raise `BadValue`."""
    try:
        return Children.model_validate(value)
    except ValidationError as error:
        raise refusal(error, model=Children) from None


def refusal(error: ValidationError, *, model: type[Table] = Manifest) -> BadValue:
    """Return the first complaint about a manifest, misspelt fields before all, as the error that its writer sees."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")  # a misspelt field is also missing
    more = error.error_count() - 1
    path = first["loc"]
    value = first["input"]
    shown = "" if isinstance(value, Mapping) or first["type"] == "extra_forbidden" else f", found {_short(value)}"
    tail = f" ({more} more {'complaint' if more == 1 else 'complaints'})" if more else ""
    return BadValue(f"{_dotted(path)}: {_reason(first)}{shown}{tail}.", fix=_fix(first, model))


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no field {error['loc'][-1]!r}"
    return _REASONS.get(error["type"]) or re.sub(r"^\w+ should", "it should", error["msg"]).rstrip(".")


def _fix(error: ErrorDetails, model: type[Table]) -> str:
    path = error["loc"]
    name = next((part for part in path if part in _FIXES), "")
    if error["type"] == "refused":
        return str(error["ctx"]["fix"])
    if error["type"] == "extra_forbidden":
        known = _known(path[:-1], model)
        close = nearest(str(path[-1]), known)
        return f"did you mean {close!r}?" if close else f"the fields here are {', '.join(sorted(known))}"
    if error["type"] == "missing":
        return f"add {path[-1]!r}"
    if name == "priority" and error["input"] == "normal":
        return "write medium, which is the normal one"
    return _FIXES.get(name, "mend the value; docs/reference/manifest.md tells the form")


def _known(path: Path, model: type[Table]) -> list[str]:
    """Return the fields of the table at the path."""
    table: type[Table] = model
    for part in path:
        match part:
            case "children":
                table = Child
            case "budget":
                table = Budget
            case "review":
                table = ReviewPolicy
            case _:
                pass
    return list(table.model_fields)


def _field_name(key: object, known: Iterable[str]) -> object:
    """Return the field that a key spells, or the key itself."""
    if not isinstance(key, str):
        return key
    name = key.replace("-", "_")
    name = _SYNONYMS.get(name, name)
    return name if name in known else key


def _count(children: tuple[Child, ...], *, generation: int) -> int:
    """Return how many jobs the children come to, theirs and all; too many or too deep are refused."""
    if children and generation > GENERATIONS_MAX:
        _refuse(f"children stand more than {GENERATIONS_MAX} deep", "make the tree flatter")
    total = len(children) + sum(_count(child.children, generation=generation + 1) for child in children)
    if total > JOBS_MAX:
        _refuse(f"it asks for more than {JOBS_MAX} jobs at once", "submit it in parts")
    return total


def _plain(value: object) -> object:
    """Return the value if every store and every reader of JSON can hold it."""
    for path, item in _leaves(value):
        if isinstance(item, float) and not math.isfinite(item):
            _refuse(f"{_dotted(path)} is {item}, which JSON has no number for", "give a finite number")
        if isinstance(item, str) and ("\x00" in item or not _encodes(item)):
            _refuse(f"{_dotted(path)} holds a character that is no text: {_short(item)}", "take it out")
    return value


def _leaves(value: object) -> Iterator[tuple[Path, object]]:
    """Yield every key and every plain value with its path; whatever is nested too deep is refused."""
    todo: list[tuple[Path, object]] = [((), value)]
    while todo:
        path, item = todo.pop()
        if len(path) > DEPTH_MAX:
            _refuse(f"{_dotted(path[:3])} is nested more than {DEPTH_MAX} deep", "make it flatter")
        if isinstance(item, Mapping):
            yield from ((path, key) for key in item)
            todo += [((*path, str(key)), inner) for key, inner in item.items()]
        elif isinstance(item, list | tuple):
            todo += [((*path, place), inner) for place, inner in enumerate(item)]
        else:
            yield path, item


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _dotted(path: Path) -> str:
    """Return the path as people write it, such as `children[0].timeout`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".").encode("utf-8", "backslashreplace").decode("utf-8") or "the manifest"


def _short(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and not _encodes(value) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _too_deep() -> BadValue:
    return BadValue(f"the manifest is nested more than {DEPTH_MAX} deep.", fix="make it flatter.")
