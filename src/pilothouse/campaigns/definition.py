"""What every campaign file holds, whatever its kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from pydantic import Field, model_validator

from pilothouse.campaigns.records_section import Records, Tracking
from pilothouse.campaigns.sections import (
    Budget,
    BudgetOfChange,
    CampaignTable,
    Decision,
    Gate,
    KnobTable,
    Metric,
    Monitor,
    Rules,
    Section,
    Trainer,
)
from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.expression import Expression
from pilothouse.knobs.invariant import Invariant, check_invariants, derive, read_derived, read_invariants
from pilothouse.knobs.knob import Knob


class Definition(Section):
    """What every campaign file holds; each kind adds its own tables."""

    campaign: CampaignTable
    trainer: Trainer
    knobs: dict[str, KnobTable] = Field(default={})
    rules: Rules = Rules()
    change_budget: BudgetOfChange = BudgetOfChange()
    metrics: dict[str, Metric]
    gate: Gate = Gate()
    decision: Decision = Decision()
    monitor: Monitor = Monitor()
    budget: Budget = Budget()
    records: Records = Records()
    tracking: Tracking = Tracking()

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

    @model_validator(mode="after")
    def _fills_the_command(self) -> Definition:
        """Refuse a trainer's command that names nothing, or values that no option can tell, in any of its modes."""
        knobs: dict[str, Json] = {name: table.default for name, table in self.knobs.items()}
        derived = derive(knobs, self.derived())
        trainer = self.trainer
        for mode in trainer.modes.values() or [{}]:
            trainer.check_command({**trainer.config, **mode, **derived})
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

    def ceilings(self) -> dict[str, float]:
        """Return what the whole campaign may spend, by name: what an approval is bound to as its cost ceiling."""
        return self.budget.model_dump(exclude_none=True)

    def programs(self) -> dict[str, Json]:
        """Return what runs and on what it is judged: what an approval is bound to besides the config."""
        return self.model_dump(mode="json", include={"trainer", "rules", "golden", "flywheel", "metrics", "decision"})

    def may_approve(self, approver: str) -> bool:
        """Whether this person's yes counts; any signed one does where the file names nobody."""
        return bool(approver)

    @abstractmethod
    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of what runs are evaluated on; `golden` holds those of the locked golden sets by name."""
