"""The campaign file's schema: strict, frozen, and published as JSON Schema.

Unknown keys, wrong types and contradictions are refused here; ranges of knob values are the knobs' own rule.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from pilothouse.campaigns.seed_range import SeedRange, parse_seed_range
from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Direction
from pilothouse.fleet.duration import parse_duration
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.knob import Knob, KnobRisk, KnobScale, KnobType

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
    kind: Literal["flywheel"]
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


class Metric(Section):
    """A metric that the evaluation promises; the primary one decides by its per-example `column`."""

    direction: Literal["min", "max"]
    primary: bool = False
    column: str | None = None
    smallest_effect_of_interest: float = Field(default=0.0, ge=0)

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
    """The error rate of one comparison, and the column that names the cluster of an example."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    cluster: str = Field(default="cluster", min_length=1)


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


class Definition(Section):
    """A whole campaign file."""

    campaign: CampaignTable
    trainer: Trainer
    knobs: dict[str, KnobTable] = {}
    change_budget: BudgetOfChange = BudgetOfChange()
    metrics: dict[str, Metric]
    gate: Gate = Gate()
    decision: Decision = Decision()
    monitor: Monitor = Monitor()
    budget: Budget = Budget()
    golden: dict[str, Golden]
    flywheel: Flywheel

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Definition:
        primaries = [name for name, metric in self.metrics.items() if metric.primary]
        if len(primaries) != 1:
            raise ValueError(f"exactly one metric is primary, found {primaries or 'none'}")
        if self.metrics[primaries[0]].column is None:
            raise ValueError(f"the primary metric {primaries[0]} needs the column of its per-example scores")
        if self.budget.gpu_hours is not None and self.trainer.requires.gpus == 0:
            raise ValueError("budget.gpu_hours binds nothing while trainer.requires.gpus is 0: set hours, or gpus")
        if self.flywheel.golden not in self.golden:
            raise ValueError(f"flywheel.golden is {self.flywheel.golden!r}, known are {sorted(self.golden)}")
        return self

    def primary(self) -> tuple[str, Metric]:
        """Return the name and the table of the metric that decides."""
        return next((name, metric) for name, metric in self.metrics.items() if metric.primary)

    def knob_rules(self) -> dict[str, Knob]:
        """Return the knobs by name."""
        return {name: table.knob(name) for name, table in self.knobs.items()}

    def programs(self) -> dict[str, Json]:
        """Return what runs and on what it is judged: the tables that an approval is bound to besides the config."""
        return self.model_dump(mode="json", include={"trainer", "golden", "flywheel", "metrics", "decision"})

    def reserved_ranges(self) -> tuple[SeedRange, ...]:
        """Return every range that may not train: the golden sets' and those the owner reserves."""
        texts = [golden.seeds for golden in self.golden.values()] + list(self.flywheel.reserved)
        return tuple(sorted(parse_seed_range(text) for text in texts))
