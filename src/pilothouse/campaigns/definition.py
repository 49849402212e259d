"""The campaign file's schema: strict, frozen, and published as JSON Schema.

Unknown keys, wrong types and contradictions are refused here; ranges of knob values are the knobs' own rule.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from pilothouse.campaigns.seed_range import SeedRange, parse_seed_range
from pilothouse.canonical import Json, digest
from pilothouse.errors import BadValue
from pilothouse.evidence.protocol import CALIBRATION_RUNS, CONFIRMATION_RUNS, PROMISED
from pilothouse.evidence.verdict import Direction
from pilothouse.fleet.duration import parse_duration
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.expression import Expression
from pilothouse.knobs.invariant import Invariant, check_invariants, derive, read_derived, read_invariants
from pilothouse.knobs.knob import Knob, KnobRisk, KnobScale, KnobType

LOOK_MOST = 400
RUNS_MOST = 200
"""Runs of one purpose within a trial; their seeds are counted apart (`campaigns.seeds`)."""

Scalar = bool | int | float | str
Values = dict[str, Scalar | list[Scalar]]


def _seconds(value: object) -> object:
    """Read a duration's text; numbers pass, as a stored definition holds seconds."""
    return parse_duration(value) if isinstance(value, str) else value


_DURATION_SCHEMA = {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?[smhd]$"}, {"type": "number"}]}
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0), WithJsonSchema(_DURATION_SCHEMA, mode="validation")]
SeedText = Annotated[str, BeforeValidator(lambda value: str(parse_seed_range(str(value))))]
Command = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Section(BaseModel):
    """A table of the file: no unknown keys, no coercion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class CampaignTable(Section):
    """Who the campaign is. `kind` names its loop."""

    name: Slug
    kind: Literal["flywheel", "autopilot"]
    product: Slug = "default"
    goal: str = ""


class Requires(Section):
    """What one attempt needs of a factory."""

    seats: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_gb: float = Field(default=0.0, ge=0)


class Step(Section):
    """A program of the loop: its command and the values that are not knobs."""

    command: Command
    timeout: Seconds = 7200.0
    grace: Seconds = 10.0
    config: Values = {}


class Trainer(Step):
    """The training program; `mode` picks one of `modes`, whose values join `config`."""

    requires: Requires = Requires()
    mode: str | None = None
    modes: dict[str, Values] = {}

    @model_validator(mode="after")
    def _mode_is_known(self) -> Trainer:
        if self.mode is not None and self.mode not in self.modes:
            raise ValueError(f"mode {self.mode!r} is none of the modes {sorted(self.modes)}")
        return self

    def fixed_values(self) -> Values:
        """Return what the trainer is given besides the knobs."""
        return {**self.config, **(self.modes[self.mode] if self.mode is not None else {})}


class KnobTable(Section):
    """One tunable, as the file writes it."""

    type: Literal["float", "int", "bool", "choice"]
    default: Scalar
    min: float | int | None = None
    max: float | int | None = None
    choices: list[str] = []
    scale: Literal["linear", "log"] = "linear"
    max_step: float | int | None = None
    bucket: str = "other"
    risk: Literal["low", "medium", "high"] = "low"

    def knob(self, name: str) -> Knob:
        """Return the knob that the rules work with."""
        return Knob(
            name=name,
            type=KnobType(self.type),
            default=self.default,
            minimum=self.min,
            maximum=self.max,
            choices=tuple(self.choices),
            scale=KnobScale(self.scale),
            max_step=self.max_step,
            bucket=self.bucket,
            risk=KnobRisk(self.risk),
        )


class BudgetOfChange(Section):
    """How many knobs one proposal may move."""

    min: int = Field(default=0, ge=0)
    max: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _allows_something(self) -> BudgetOfChange:
        if self.min > self.max:
            raise ValueError(f"min {self.min} lies above max {self.max}: nothing could be proposed")
        return self

    def budget(self) -> ChangeBudget:
        """Return the value that the rule works with."""
        return ChangeBudget(minimum=self.min, maximum=self.max)


class Rules(Section):
    """What holds between knobs, and what follows from them, as small expressions over their names."""

    invariants: list[str] = []
    derived: dict[str, str] = {}


class Metric(Section):
    """A metric that is promised; the primary one decides, in a flywheel by its per-example `column`.

    A guard holds a promotion back: by having regressed, or, with a margin `no_worse_by`, by not excluding that it is
    worse by so much.
    """

    direction: Literal["min", "max"]
    primary: bool = False
    column: str | None = None
    smallest_effect_of_interest: float = Field(default=0.0, ge=0)
    guard: bool = False
    no_worse_by: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _guards_or_decides(self) -> Metric:
        if self.primary and self.guard:
            raise ValueError("the primary metric decides; another one guards")
        return self

    def better(self) -> Direction:
        """Return which way is better."""
        return Direction(self.direction)


class Gate(Section):
    """Who must say yes. A waiver names its author, its reason and, where it ends, its end (RFC 3339)."""

    approval: Literal["required", "waived"] = "required"
    waived_by: str = ""
    reason: str = ""
    expires: str | None = None

    @field_validator("expires")
    @classmethod
    def _names_its_zone(cls, text: str | None) -> str | None:
        if text is not None and datetime.fromisoformat(text).tzinfo is None:
            raise ValueError(f"{text!r} names no time zone: write 2026-12-31T00:00:00Z, for example")
        return text

    @model_validator(mode="after")
    def _waiver_is_signed(self) -> Gate:
        if self.approval == "waived" and not (self.waived_by and self.reason):
            raise ValueError("a waiver needs waived_by and reason: somebody answers for it")
        return self


class Decision(Section):
    """The error rate, and how runs are compared.

    `alpha` is that of one comparison, and `cluster` the column that names the cluster of an example. Of a campaign over
    seeds, `mode` says whether every proposal is a question of its own (`single`, at `alpha`) or one of a stream that
    may promote at most `promised` changes that are none. `looks` are the candidate's numbers of seeds after which it
    is judged, where the built-in ones do not suit. `calibration` runs of the unchanged config come first, and
    `confirmation` fresh runs re-measure what was promoted.
    """

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    cluster: str = Field(default="cluster", min_length=1)
    mode: Literal["single", "stream"] = "stream"
    promised: float = Field(default=PROMISED, gt=0, le=1)
    looks: list[Annotated[int, Field(ge=2, le=LOOK_MOST)]] | None = None
    calibration: int = Field(default=CALIBRATION_RUNS, ge=3, le=RUNS_MOST)
    confirmation: int = Field(default=CONFIRMATION_RUNS, ge=2, le=RUNS_MOST)

    @model_validator(mode="after")
    def _looks_grow(self) -> Decision:
        looks = self.looks
        if looks is not None and (not looks or any(left >= right for left, right in pairwise(looks))):
            raise ValueError(f"looks {looks} do not grow: write numbers of seeds such as [3, 5, 8]")
        return self


class Monitor(Section):
    """When silence is a hang, and how often a run may start again after a failure of its own."""

    silent_after: Seconds = 600.0
    restarts: int = Field(default=1, ge=0)


class Budget(Section):
    """What the whole campaign may spend; absent means unlimited. Prices are the owner's to state."""

    hours: float | None = Field(default=None, gt=0)
    gpu_hours: float | None = Field(default=None, gt=0)
    usd: float | None = Field(default=None, gt=0)
    usd_per_hour: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _price_is_known(self) -> Budget:
        if self.usd is not None and self.usd_per_hour is None:
            raise ValueError("usd needs usd_per_hour: an unknown cost is never taken for zero")
        return self


class Golden(Section):
    """A golden set: its seeds never train. `digest` pins its content, if the owner knows it."""

    seeds: SeedText
    config: Values = {}
    digest: str | None = None


class Flywheel(Section):
    """The endless loop: which seeds, which programs, which golden set decides."""

    first_seed: int = Field(default=0, ge=0)
    seeds_per_iteration: int = Field(ge=1)
    iterations: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    golden: str
    reserved: list[SeedText] = []
    generate: Step
    tokenise: Step
    evaluate: Step


class Stop(Section):
    """When the autopilot ends by itself; what is absent never ends it.

    `without_improvement`, `failures` and `refusals` count proposals in a row; the last two go to a person. `after` is
    counted from the campaign's opening, and `file` ends the loop as soon as it is there.
    """

    proposals: int | None = Field(default=None, ge=1)
    without_improvement: int | None = Field(default=None, ge=1)
    failures: int = Field(default=3, ge=1)
    refusals: int = Field(default=10, ge=1)
    after: Seconds | None = None
    file: str | None = None


class Screen(Section):
    """A first look at a proposal in a cheaper mode of the trainer: whoever is worse there goes no further.

    It may only turn proposals away, so it spends nothing of the error rate.
    """

    mode: str
    runs: int = Field(default=2, ge=1, le=RUNS_MOST)
    baseline: int = Field(default=4, ge=2, le=RUNS_MOST)
    give_up: float = Field(default=0.7, gt=0, lt=1)


class Autopilot(Section):
    """The loop that proposes by itself: where proposals come from, from which seed runs count, when it ends."""

    proposer: Literal["one-axis", "random", "surrogate", "tpe", "cma-es", "gp"] = "one-axis"
    seed: int = Field(default=0, ge=0)
    stop_doomed: bool = True
    screen: Screen | None = None
    stop: Stop = Stop()


class Definition(Section):
    """What every campaign file holds; each kind adds its own tables."""

    campaign: CampaignTable
    trainer: Trainer
    knobs: dict[str, KnobTable] = {}
    rules: Rules = Rules()
    change_budget: BudgetOfChange = BudgetOfChange()
    metrics: dict[str, Metric]
    gate: Gate = Gate()
    decision: Decision = Decision()
    monitor: Monitor = Monitor()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _decides_by_one(self) -> Definition:
        primaries = [name for name, metric in self.metrics.items() if metric.primary]
        if len(primaries) != 1:
            raise ValueError(f"exactly one metric is primary, found {primaries or 'none'}")
        if self.budget.gpu_hours is not None and self.trainer.requires.gpus == 0:
            raise ValueError("budget.gpu_hours binds nothing while trainer.requires.gpus is 0: set hours, or gpus")
        return self

    def primary(self) -> tuple[str, Metric]:
        """Return the name and the table of the metric that decides."""
        return next((name, metric) for name, metric in self.metrics.items() if metric.primary)

    @model_validator(mode="after")
    def _keeps_its_own_rules(self) -> Definition:
        """Refuse rules that cannot be read, and defaults that break them."""
        try:
            config: dict[str, Json] = {name: table.default for name, table in self.knobs.items()}
            check_invariants(derive(config, self.derived()), self.invariants())
        except BadValue as error:
            raise ValueError(f"{error.message}; {error.fix}") from error
        return self

    def invariants(self) -> tuple[Invariant, ...]:
        """Return what every config must keep."""
        return read_invariants(self.rules.invariants)

    def derived(self) -> dict[str, Expression]:
        """Return what follows from the knobs, in the order in which it is worked out."""
        return read_derived(self.rules.derived, self.knobs)

    def knob_rules(self) -> dict[str, Knob]:
        """Return the knobs by name."""
        return {name: table.knob(name) for name, table in self.knobs.items()}

    def programs(self) -> dict[str, Json]:
        """Return what runs and on what it is judged: what an approval is bound to besides the config."""
        return self.model_dump(mode="json", include={"trainer", "rules", "golden", "flywheel", "metrics", "decision"})

    @abstractmethod
    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of what runs are evaluated on; `golden` holds those of the locked golden sets by name."""


class FlywheelDefinition(Definition):
    """The file of a flywheel."""

    golden: dict[str, Golden]
    flywheel: Flywheel

    @model_validator(mode="after")
    def _knows_its_golden_set(self) -> FlywheelDefinition:
        name, metric = self.primary()
        if metric.column is None:
            raise ValueError(f"the primary metric {name} needs the column of its per-example scores")
        if self.flywheel.golden not in self.golden:
            raise ValueError(f"flywheel.golden is {self.flywheel.golden!r}, known are {sorted(self.golden)}")
        return self

    @model_validator(mode="after")
    def _decides_by_its_primary_alone(self) -> FlywheelDefinition:
        """Refuse a guard: nothing here compares it, and a promise that nobody keeps is worse than none."""
        guards = [name for name, metric in self.metrics.items() if metric.guard or metric.no_worse_by is not None]
        if guards:
            raise ValueError(
                f"metrics {guards} have guard or no_worse_by, and a flywheel decides by its primary metric alone: "
                "leave them out, or let an autopilot guard"
            )
        return self

    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of the deciding golden set."""
        return golden.get(self.flywheel.golden, "unlocked")

    def reserved_ranges(self) -> tuple[SeedRange, ...]:
        """Return every range that may not train: the golden sets' and those the owner reserves."""
        texts = [golden.seeds for golden in self.golden.values()] + list(self.flywheel.reserved)
        return tuple(sorted(parse_seed_range(text) for text in texts))


class AutopilotDefinition(Definition):
    """The file of an autopilot: the trainer evaluates its own runs."""

    autopilot: Autopilot = Autopilot()

    @model_validator(mode="after")
    def _screens_in_a_known_mode(self) -> AutopilotDefinition:
        screen = self.autopilot.screen
        if screen is not None and screen.mode not in self.trainer.modes:
            raise ValueError(f"autopilot.screen.mode {screen.mode!r} is none of the modes {sorted(self.trainer.modes)}")
        return self

    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of what the trainer promises to measure; `golden` sets it has none."""
        assert not golden, f"an autopilot locks no golden sets, found {sorted(golden)}"
        return digest({name: metric.model_dump(mode="json") for name, metric in self.metrics.items()})


KINDS: dict[str, type[Definition]] = {"flywheel": FlywheelDefinition, "autopilot": AutopilotDefinition}


def definition_of(values: object) -> Definition:
    """Return the definition that these values make, by their kind; raise pydantic's `ValidationError` otherwise."""
    return schema_of(values).model_validate(values)


def schema_of(values: object) -> type[Definition]:
    """Return the schema that these values are to keep; values without a known kind are held to a flywheel's."""
    table = values.get("campaign") if isinstance(values, Mapping) else None
    kind = table.get("kind") if isinstance(table, Mapping) else None
    return KINDS.get(kind, FlywheelDefinition) if isinstance(kind, str) else FlywheelDefinition


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema of campaign files of every kind."""
    return TypeAdapter(FlywheelDefinition | AutopilotDefinition).json_schema()
