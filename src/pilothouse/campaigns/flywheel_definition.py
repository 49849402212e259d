"""The campaign file of a flywheel."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.sections import Section, SeedText, Step, Values
from pilothouse.campaigns.seed_range import SeedRange, parse_seed_range


class Golden(Section):
    """A golden set: its seeds never train. `digest` pins its content, if the owner knows it."""

    seeds: SeedText
    config: Values = Field(default={})
    digest: str | None = None


class Flywheel(Section):
    """The endless loop: which seeds, which programs, which golden set decides."""

    first_seed: int = Field(default=0, ge=0)
    seeds_per_iteration: int = Field(ge=1)
    iterations: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    golden: str
    reserved: list[SeedText] = Field(default=[])
    generate: Step
    tokenise: Step
    evaluate: Step


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

    @model_validator(mode="after")
    def _fills_the_commands_of_its_steps(self) -> FlywheelDefinition:
        """Refuse a step's command that names nothing, or values that no option can tell."""
        loop = self.flywheel
        for extra in [{}, *(golden.config for golden in self.golden.values())]:
            loop.generate.check_command({**loop.generate.config, **extra, "seeds": str(loop.first_seed)})
        loop.tokenise.check_command(loop.tokenise.config)
        loop.evaluate.check_command(loop.evaluate.config)
        return self

    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of the deciding golden set."""
        return golden.get(self.flywheel.golden, "unlocked")

    def reserved_ranges(self) -> tuple[SeedRange, ...]:
        """Return every range that may not train: the golden sets' and those the owner reserves."""
        texts = [golden.seeds for golden in self.golden.values()] + list(self.flywheel.reserved)
        return tuple(sorted(parse_seed_range(text) for text in texts))
