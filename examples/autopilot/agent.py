"""A small agent, to see how one is asked: it reads its context, moves one knob by a rule, and says why.

It needs nothing but Python, reaches no network, and answers alike to the same context. A real one is a model behind the
same two folders: `PILOTHOUSE_CONTEXT` to read from, `PILOTHOUSE_OUT` to write `proposal.json` into.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTEXT = Path(os.environ["PILOTHOUSE_CONTEXT"])  # noqa: TID251  this is how an agent is told its folders
OUT = Path(os.environ["PILOTHOUSE_OUT"])  # noqa: TID251  as above
FACTORS = (2.0, 0.5, 1.4, 0.7)
"""What each knob is multiplied with, one factor after the other."""


def read(name: str) -> Any:
    """Return one document of the context."""
    return json.loads((CONTEXT / name).read_text(encoding="utf-8"))


def moved(knob: dict[str, Any], value: float, factor: float) -> float:
    """Return the value a step further, inside the knob's range; on a linear scale half of the largest step."""
    low, high = knob["minimum"], knob["maximum"]
    if knob["scale"] == "log":
        value *= factor
    else:
        value += (0.5 if factor > 1 else -0.5) * knob.get("max_step", high - low)
    value = min(max(value, low), high)
    return round(value) if knob["type"] == "int" else float(f"{value:.4g}")


def moves(knobs: dict[str, Any], parent: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield every knob of numbers with a value that it does not have."""
    for factor in FACTORS:
        for name, knob in sorted(knobs.items()):
            if knob["type"] in {"int", "float"}:
                value = moved(knob, parent[name], factor)
                if value != parent[name]:
                    yield name, value


search, parent, history = read("search.json"), read("parent.json"), read("history.json")
tried = [one["changes"] for one in history]
name, value = next(
    (name, value) for name, value in moves(read("knobs.json"), parent) if {name: [parent[name], value]} not in tried
)
answer = {
    "overrides": {name: value},
    "rationale": f"Of the {len(tried)} changes on record none moved {name} from {parent[name]} to {value} alone.",
    "hypothesis": f"{search['metric']} gets better when {name} is {value}.",
    "risk": "low",
    "rollback": f"Set {name} back to {parent[name]}.",
    "why_not_identical": f"{name} is {value} and not {parent[name]}.",
}
(OUT / "proposal.json").write_text(json.dumps(answer), encoding="utf-8")
