"""From overrides to the exact change against the parent, through every guardrail there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.canonical import Json
from pilothouse.errors import Refused
from pilothouse.knobs import change_budget
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.config import apply
from pilothouse.knobs.delta import Change, effective_delta
from pilothouse.knobs.expression import Expression
from pilothouse.knobs.invariant import Invariant, check_invariants, derive, refuse_derived
from pilothouse.knobs.knob import Knob, check_step, is_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What somebody asks for: overrides on a parent's config, and the rules they must keep.

    `identical_reason` says why the parent's config should run again, for the case that nothing changes. `derived` holds
    what is worked out from the config, in the order in which it is.
    """

    parent: Mapping[str, Json]
    overrides: Mapping[str, Json]
    knobs: Mapping[str, Knob]
    budget: ChangeBudget
    identical_reason: str = ""
    invariants: tuple[Invariant, ...] = ()
    derived: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """The child's complete config, and what really changes against the parent, by name.

    `followed` holds the derived values that change with it; nobody asked for them, and they count as no change.
    """

    config: Mapping[str, Json]
    changes: tuple[Change, ...]
    followed: tuple[Change, ...] = ()


def draft(request: Draft) -> Drafted:
    """Return the config and its effective delta.

    Raises `BadValue` for an unknown knob, a wrong type, a broken invariant and a derived value that is set,
    `OutOfRange` for a value or a step too far, `ChangeBudgetExceeded` for more or fewer changes than allowed, and
    `Refused` where nothing but a seed changes; overrides that change nothing are not counted.
    """
    refuse_derived(request.overrides, request.derived)
    config = derive(apply(request.parent, request.overrides, request.knobs), request.derived)
    delta = effective_delta(request.parent, config)
    changes = tuple(change for change in delta if change.knob not in request.derived)
    refuse_seed_only(changes)
    for change in changes:
        if change.knob in request.parent:
            check_step(request.knobs[change.knob], change.before, change.after)
    change_budget.check(changes, request.budget, request.identical_reason)
    check_invariants(config, request.invariants)
    followed = tuple(change for change in delta if change.knob in request.derived)
    return Drafted(config=config, changes=changes, followed=followed)


def refuse_seed_only(changes: Sequence[Change]) -> None:
    """Refuse a proposal whose only effect is another seed: its luck would be kept and its gain would not."""
    seeds = [change.knob for change in changes if is_seed(change.knob)]
    if seeds and len(seeds) == len(changes):
        raise Refused(
            f"the proposal changes nothing but {', '.join(seeds)}",
            fix="a seed is noise, not a knob: move a knob, or measure the noise with `pilothouse campaign calibrate`",
        )
