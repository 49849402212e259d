"""The campaign file of a ferry: a recurring run that shows every day that the whole of it still works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pilothouse.campaigns.agent_section import FerryAgent, agent_ceiling, refuse_unknown_cost
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.ferry_schedule import Schedule
from pilothouse.campaigns.sections import Metric, Seconds, Section
from pilothouse.canonical import Json, digest
from pilothouse.errors import BadValue

SEEDS_MAX = 20
PATCH_LINES_MOST = 1000
OWN_MEASURES = frozenset({"seconds", "steps", "attempts", "incidents"})
"""What the platform's own record tells of a run; a program's metric of the same name is not asked for it."""


def _within_repository(path: str) -> str:
    parts = path.split("/")
    if path and ("\\" in path or not path.isprintable() or not {"", ".", "..", ".git"}.isdisjoint(parts)):
        raise ValueError(f"{path!r} is no file of the repository: write it from the repository's top, with /")
    return path


Weight = Annotated[float, Field(ge=0, le=1)]
RepositoryPath = Annotated[str, AfterValidator(_within_repository)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,30}$")]


class ScheduleTable(Section):
    """When a proposal is due: five fields of cron, read in a time zone. A tick opens a proposal, it never launches."""

    cron: str
    zone: str = "UTC"

    @model_validator(mode="after")
    def _can_be_read(self) -> ScheduleTable:
        try:
            self.schedule()
        except BadValue as error:
            raise ValueError(f"{error.message}; {error.fix}") from error
        return self

    def schedule(self) -> Schedule:
        """Return the value that the rules work with."""
        return Schedule.read(self.cron, zone=self.zone)


class Watch(Section):
    """How often a running ferry is looked at: `first` after a launch once, `then` from there on.

    `degraded_after` looks without a new step make it degraded, which is told and is no failure. A ferry that has shown
    no step of its own within `pending_limit` is told as waiting; a process that has merely begun does not stop that
    clock.
    """

    first: Seconds = 120.0
    then: Seconds = 570.0
    degraded_after: int = Field(default=2, ge=1)
    pending_limit: Seconds = 12 * 3600.0


class Validator(Section):
    """A bound on a metric, or on what the platform itself measures; a metric that is missing is out of bounds."""

    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Validator:
        if self.at_most is None and self.at_least is None:
            raise ValueError("a validator needs at_most or at_least")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} lies above at_most {self.at_most:g}: nothing would pass")
        return self


class Reliability(Section):
    """A measure of how smoothly a run went; it holds a promotion back when it is worse by more than this share."""

    direction: Literal["min", "max"]
    worse_by: float = Field(default=0.0, ge=0)


class Ranking(Section):
    """The weights by which candidate changes are ranked; each part of a score lies between 0 and 1."""

    value: Weight = 0.4
    blast_radius: Weight = 0.3
    reversibility: Weight = 0.1
    signal: Weight = 0.2

    @model_validator(mode="after")
    def _weighs_something(self) -> Ranking:
        if self.value + self.blast_radius + self.reversibility + self.signal <= 0:
            raise ValueError("all weights are 0: no change could be preferred to another")
        return self


class Allowances(Section):
    """How often one ferry is launched again after a failure of each class; everything else goes to a person at once."""

    infrastructure: int = Field(default=2, ge=0)
    small_bug: int = Field(default=1, ge=0)


class PatchTable(Section):
    """What the agent may change in the code after a small bug: text in files that are there, below `paths` alone.

    `lines` bounds the lines that are added and taken away together. Nothing of it is applied: it becomes a branch that
    a person reads and merges.
    """

    paths: list[RepositoryPath] = Field(min_length=1)
    lines: int = Field(default=40, ge=1, le=PATCH_LINES_MOST)


class Ferry(Section):
    """The recurring run: its name, its rhythm, and what is asked of it.

    `proposer` says who chooses the change where nobody has asked for one and no rule settles it. `patch` lets the agent
    propose a mend of a small bug.
    `key_metrics` decide over a promotion, the primary one alone if none is named. `seeds` runs make one ferry.
    `approvers` are the only ones whose yes counts; empty means anybody who may use the gate. `template` and `recipe`
    are the files of the repository that a promotion changes. With `own_repository` the commits and seals that a forge
    would get are made in the working folder's repository too, as branches and tags. `issue_label` marks the issues that
    a proposal considers. With a `fresh_start` that is refused no run starts below the last checkpoint of its attempts.
    """

    form: Literal["daily", "canary"] = "daily"
    proposer: Literal["rules", "agent"] = "rules"
    agent: FerryAgent | None = None
    patch: PatchTable | None = None
    size: Slug = "run"
    seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=1, ge=1, le=SEEDS_MAX)
    template: RepositoryPath = ""
    recipe: RepositoryPath = ""
    branch: str = "main"
    own_repository: bool = False
    issue_label: str = "experiment"
    approvers: list[str] = Field(default=[])
    key_metrics: list[str] = Field(default=[])
    schedule: ScheduleTable | None = None
    watch: Watch = Watch()
    validators: dict[str, Validator] = Field(default={})
    reliability: dict[str, Reliability] = Field(default={"attempts": Reliability(direction="min")})
    ranking: Ranking = Ranking()
    allowances: Allowances = Allowances()
    fresh_start: Literal["allowed", "refused"] = "allowed"

    @model_validator(mode="after")
    def _names_the_agent_that_it_asks(self) -> Ferry:
        if self.agent is None and self.proposer == "agent":
            raise ValueError('proposer "agent" asks an agent, and none is named: add [ferry.agent]')
        if self.agent is None and self.patch is not None:
            raise ValueError("ferry.patch lets an agent propose a patch, and none is named: add [ferry.agent]")
        if self.form == "canary" and self.proposer == "agent":
            raise ValueError('a canary has nothing to choose: take proposer = "agent" away')
        if self.form == "canary" and self.patch is not None:
            raise ValueError("a canary opens no pull request, so its bugs are mended by hand: take ferry.patch away")
        return self


class FerryDefinition(Definition):
    """The file of a ferry: one template, changed by one or two knobs a day."""

    ferry: Ferry = Ferry()

    @model_validator(mode="after")
    def _knows_its_metrics(self) -> FerryDefinition:
        unknown = [name for name in self.ferry.key_metrics if name not in self.metrics]
        if unknown:
            raise ValueError(f"ferry.key_metrics names {unknown}, known are {sorted(self.metrics)}")
        if self.ferry.key_metrics and self.primary()[0] not in self.ferry.key_metrics:
            raise ValueError(f"ferry.key_metrics lacks the primary metric {self.primary()[0]!r}")
        return self

    @model_validator(mode="after")
    def _changes_little(self) -> FerryDefinition:
        if self.ferry.form == "canary" and self.knobs:
            raise ValueError(
                "a canary runs one fixed config: move its knobs to [trainer] config, or use form = 'daily'"
            )
        guards = [name for name, metric in self.metrics.items() if metric.guard or metric.no_worse_by is not None]
        if guards:
            raise ValueError(f"metrics {guards} guard, which a ferry does not heed: name them in [ferry.reliability]")
        return self

    @model_validator(mode="after")
    def _knows_what_an_agent_costs(self) -> FerryDefinition:
        refuse_unknown_cost(self.ferry.agent, self.budget, table="ferry.agent")
        return self

    def ceilings(self) -> dict[str, float]:
        """Return the budget, and what the agent may cost besides."""
        return super().ceilings() | agent_ceiling(self.ferry.agent)

    def key_metrics(self) -> dict[str, Metric]:
        """Return the metrics that decide over a promotion, the primary one first."""
        primary = self.primary()[0]
        names = dict.fromkeys([primary, *self.ferry.key_metrics])
        return {name: self.metrics[name] for name in names}

    def may_approve(self, approver: str) -> bool:
        """Whether this person's yes counts; `ada`, `@ada` and, as a yes on the forge is kept, `ada@github` are one."""
        return not self.ferry.approvers or _login(approver) in {_login(name) for name in self.ferry.approvers}

    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of what a run is held to; `golden` sets a ferry locks none."""
        assert not golden, f"a ferry locks no golden sets, found {sorted(golden)}"
        asked: dict[str, Json] = {name: metric.model_dump(mode="json") for name, metric in self.metrics.items()}
        bounds: dict[str, Json] = {name: each.model_dump() for name, each in self.ferry.validators.items()}
        smooth: dict[str, Json] = {name: each.model_dump() for name, each in self.ferry.reliability.items()}
        return digest({"metrics": asked, "validators": bounds, "reliability": smooth, "seeds": self.ferry.seeds})


def _login(name: str) -> str:
    return name.removeprefix("@").removesuffix("@github").casefold()
