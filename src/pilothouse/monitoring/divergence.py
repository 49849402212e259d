"""When a loss has run away although every number that was reported is finite.

Only what is called a loss is looked at, since a counter of samples may grow as it likes, and only a loss that has grown
by a factor that no training comes back from, over several reports in a row: a single spike is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FACTOR = 1e6
"""How many times its lowest value, or 1 if that is smaller, a loss must reach."""

RISES = 3
"""Over how many reports in a row it must have risen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a loss has gone so far: its lowest and its last value, and how often in a row it has risen."""

    lowest: float
    last: float
    rises: int = 0

    def then(self, value: float) -> Course:
        """Return the course with one value more."""
        rises = self.rises + 1 if value > self.last else 0
        return replace(self, lowest=min(self.lowest, value), last=value, rises=rises)

    def has_run_away(self) -> bool:
        """Whether no training comes back from here."""
        return self.rises >= RISES and self.last > FACTOR * max(1.0, abs(self.lowest))


def is_loss(name: str) -> bool:
    """Whether a metric is a loss by its name: `loss`, `val_loss`, `train/loss`, `Loss`."""
    return name.lower().replace("/", "_").replace(".", "_").replace("-", "_").rsplit("_", 1)[-1] == "loss"


def course_of(value: float) -> Course:
    """Return the course that begins with this value."""
    return Course(lowest=value, last=value)
