"""Configs: complete, canonical values with a digest, always derived from their parent."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from pilothouse.canonical import Json, digest
from pilothouse.errors import BadValue
from pilothouse.knobs.knob import Knob, check

NEAREST_CUTOFF = 0.5
"""Least similarity (difflib's ratio) at which a known name is offered for an unknown one."""


def apply(parent: Mapping[str, Json], overrides: Mapping[str, Json], knobs: Mapping[str, Knob]) -> dict[str, Json]:
    """Return the parent's config with the overrides on top, each knob checked and canonical.

    What an override does not name keeps the parent's value, never the baseline's: a short list of overrides reverts
    nothing. Settings of the parent that are no knobs stay as they are and cannot be overridden. A knob that the
    parent does not know yet enters with its default, so that the delta shows it.
    """
    for name in overrides:
        if name not in knobs:
            raise _unknown(name, parent=parent, knobs=knobs)
    child = {**parent, **{name: knob.default for name, knob in knobs.items() if name not in parent}, **overrides}
    return {name: check(knobs[name], value) if name in knobs else value for name, value in child.items()}


def config_digest(config: Mapping[str, Json]) -> str:
    """Return the digest that names the config; NaN or an infinity inside raises `BadValue`."""
    try:
        return digest(config)
    except ValueError as problem:
        raise BadValue(
            f"the config cannot be named by a digest: {problem}", fix="keep NaN, infinities and broken text out of it"
        ) from None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like this one, if any looks like it."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=NEAREST_CUTOFF)
    return close[0] if close else None


def _unknown(name: str, *, parent: Mapping[str, Json], knobs: Mapping[str, Knob]) -> BadValue:
    if name in parent:
        return BadValue(
            f"{name} is a fixed setting of this campaign, not a knob",
            fix=f"declare [knobs.{name}] with a range, or leave {name} out of the overrides",
        )
    known = ", ".join(sorted(knobs)) or "none"
    close = nearest(name, knobs)
    hint = f"did you mean {close}? " if close else ""
    return BadValue(f"there is no knob {name!r}", fix=f"{hint}known knobs: {known}")
