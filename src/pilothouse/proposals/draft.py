"""From overrides to the exact change against the parent, through every guardrail there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.errors import Refused
from pilothouse.knobs import change_budget
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.config import apply
from pilothouse.knobs.delta import Change, effective_delta
from pilothouse.knobs.knob import Knob, check_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What somebody asks for: overrides on a parent's config, and the rules they must keep.

    `identical_reason` says why the parent's config should run again, for the case that nothing changes.
    """

    parent: Mapping[str, Json]
    overrides: Mapping[str, Json]
    knobs: Mapping[str, Knob]
    budget: ChangeBudget
    identical_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """The child's complete config, and what really changes against the parent, by name."""

    config: Mapping[str, Json]
    changes: tuple[Change, ...]


def draft(request: Draft) -> Drafted:
    """Return the config and its effective delta.

    Raises `BadValue` for an unknown knob or a wrong type, `OutOfRange` for a value or a step too far, and
    `ChangeBudgetExceeded` for more or fewer changes than allowed, and `Refused` where nothing but a seed changes;
    overrides that change nothing are not counted.
    """
    config = apply(request.parent, request.overrides, request.knobs)
    changes = effective_delta(request.parent, config)
    refuse_seed_only(changes)
    for change in changes:
        if change.knob in request.parent:
            check_step(request.knobs[change.knob], change.before, change.after)
    change_budget.check(changes, request.budget, request.identical_reason)
    return Drafted(config=config, changes=changes)


def refuse_seed_only(changes: Sequence[Change]) -> None:
    """Refuse a proposal whose only effect is another seed: its luck would be kept and its gain would not.

    A seed is known by its knob's name: `seed`, or one that ends in `_seed`.
    """
    seeds = [change.knob for change in changes if change.knob == "seed" or change.knob.endswith("_seed")]
    if seeds and len(seeds) == len(changes):
        raise Refused(
            f"the proposal changes nothing but {', '.join(seeds)}",
            fix="a seed is noise, not a knob: move a knob, or measure the noise with `pilothouse campaign calibrate`",
        )
