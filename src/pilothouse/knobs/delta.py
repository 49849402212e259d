"""The exact difference of two configs: what really changes, against the parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilothouse.canonical import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One knob before and after."""

    knob: str
    before: Json
    after: Json


def effective_delta(parent: Mapping[str, Json], child: Mapping[str, Json]) -> tuple[Change, ...]:
    """Return the changes by name; a knob set to the value it already had is no change."""
    names = sorted(parent.keys() | child.keys())
    return tuple(
        Change(knob=name, before=parent.get(name), after=child.get(name))
        for name in names
        if not _same(parent.get(name), child.get(name))
    )


def _same(left: Json, right: Json) -> bool:
    """Equality that tells `True` from `1`; integers and floats of one value are the same setting."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right
