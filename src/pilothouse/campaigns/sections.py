"""The tables that every campaign file may have: strict, frozen, and published as JSON Schema.

Unknown keys, wrong types and contradictions are refused here; ranges of knob values are the knobs' own rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from pilothouse.campaigns.seed_range import parse_seed_range
from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.evidence.protocol import CALIBRATION_RUNS, CONFIRMATION_RUNS, PROMISED
from pilothouse.evidence.verdict import Direction
from pilothouse.fleet.arguments import Arguments, Booleans, Lists, Names, Style, fill, is_filled
from pilothouse.fleet.duration import parse_duration
from pilothouse.knobs.change_budget import ChangeBudget
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
    kind: Literal["flywheel", "autopilot", "ferry"]
    product: Slug = "default"
    goal: str = ""


class Requires(Section):
    """What one attempt needs of a factory."""

    seats: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_gb: float = Field(default=0.0, ge=0)


class ArgumentsTable(Section):
    """How the values of a program's config are told on its command line."""

    style: Literal["--key value", "--key=value"] = "--key value"
    names: Literal["kept", "dashes", "underscores"] = "kept"
    booleans: Literal["value", "flag", "pair"] = "value"
    lists: Literal["spaces", "repeated", "commas"] = "spaces"
    spelled: dict[str, str] = {}


class Step(Section):
    """A program of the loop: its command and the values that are not knobs."""

    command: Command
    timeout: Seconds = 7200.0
    grace: Seconds = 10.0
    config: Values = {}
    arguments: ArgumentsTable | None = None

    def argument_rules(self) -> Arguments | None:
        """Return how the command is filled, None where it is taken as it stands."""
        if self.arguments is None:
            return Arguments() if is_filled(self.command) else None
        table = self.arguments
        return Arguments(
            style=Style(table.style),
            names=Names(table.names),
            booleans=Booleans(table.booleans),
            lists=Lists(table.lists),
            spelled=table.spelled,
        )

    def check_command(self, config: Mapping[str, Json]) -> None:
        """Raise `ValueError` where the command cannot be filled from a config such as this one."""
        rules = self.argument_rules()
        if rules is None:
            return
        try:
            fill(self.command, rules, config=config, seed=0, run_dir="run", config_file="run/config.json")
        except BadValue as error:
            raise ValueError(f"{error.message}; {error.fix}") from error


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
