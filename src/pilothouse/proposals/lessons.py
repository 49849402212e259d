"""What was tried and did not help, small enough for an agent's context and plain enough for a program.

The value lists moves by knob and direction, refusals with their reasons, and where configs fail by themselves. It never
grows beyond its limit: the oldest details go first, and how many were left out is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilothouse.canonical import Json, canonical
from pilothouse.evidence.verdict import Outcome
from pilothouse.knobs.delta import Change
from pilothouse.proposals.feasibility import corners_of, failed_by_itself
from pilothouse.proposals.one_axis import direction_of
from pilothouse.proposals.search import Tried

BYTES_MAX = 4096
"""The most that the lessons take as canonical JSON, in UTF-8."""

TEXT_MAX = 160
"""The most characters of one text in them: a reason, a name, a value."""

CORNERS_MAX = 8
REFUSALS_MAX = 8
MOVES_MAX = 4
"""How many moves of one knob in one direction are shown; the newest are."""


def lessons(history: Sequence[Tried], *, limit: int = BYTES_MAX) -> dict[str, Json]:
    """Return what the history teaches against, in at most so many bytes as JSON.

    `knobs` tells by knob and direction how often it was tried, how that ended, the mean gain, and the newest moves that
    did not improve; `together` counts the moves that were made with another knob in one proposal.
    """
    assert limit >= len(canonical(_report(history, moves=0, corners=0, refusals=0, knobs=0)).encode()), "no room at all"
    sizes = {"knobs": len(_by_knob(history)), "moves": MOVES_MAX, "corners": CORNERS_MAX, "refusals": REFUSALS_MAX}
    while True:
        report = _report(history, **sizes)
        if len(canonical(report).encode("utf-8", "replace")) <= limit:
            return report
        # What costs most gives way first; a knob's counts are worth more than its moves, and come last.
        name = next(name for name in ("moves", "refusals", "corners", "knobs") if sizes[name] > _floor(name, sizes))
        sizes[name] -= max(1, sizes[name] // 4)


def _floor(name: str, sizes: Mapping[str, int]) -> int:
    """Return how far one part shrinks before the next does: one of each is kept while there are knobs to leave out."""
    return 0 if name == "knobs" or sizes["knobs"] == 0 else 1


def _report(history: Sequence[Tried], *, knobs: int, moves: int, corners: int, refusals: int) -> dict[str, Json]:
    by_knob = _by_knob(history)
    refused = [tried for tried in history if tried.refusal]
    failing = corners_of(history)
    shown = sorted(by_knob, key=lambda name: -max(tried.number for tried, _ in by_knob[name]))[:knobs]
    return {
        "tried": len(history),
        **_counts(history),
        "refused": len(refused),
        "knobs": {_short(name): _directions(by_knob[name], moves) for name in sorted(shown)},
        "refusals": [
            {"number": tried.number, "changes": _moves_text(tried.changes), "reason": _short(tried.refusal)}
            for tried in refused[len(refused) - min(refusals, len(refused)) :]
        ],
        "fails_where": [
            {
                "config": _short(" and ".join(map(str, corner.limits))),
                "failed": len(corner.failed),
                "ran": len(corner.ran),
                "how": _short(", ".join(corner.failures)),
            }
            for corner in failing[:corners]
        ],
        "left_out": {
            "knobs": max(0, len(by_knob) - knobs),
            "refusals": max(0, len(refused) - refusals),
            "fails_where": max(0, len(failing) - corners),
        },
    }


def _by_knob(history: Sequence[Tried]) -> dict[str, list[tuple[Tried, Change]]]:
    """Return the moves that were run, by knob, the oldest first."""
    found: dict[str, list[tuple[Tried, Change]]] = {}
    for tried in history:
        if not tried.refusal:
            for change in tried.changes:
                found.setdefault(change.knob, []).append((tried, change))
    return found


def _directions(moved: Sequence[tuple[Tried, Change]], moves: int) -> dict[str, Json]:
    found: dict[str, list[tuple[Tried, Change]]] = {}
    for tried, change in moved:
        found.setdefault(_short(direction_of(change.before, change.after)), []).append((tried, change))
    newest = sorted(found, key=lambda name: -max(tried.number for tried, _ in found[name]))[: max(moves, 1) * 2]
    return {name: _direction(found[name], moves) for name in sorted(newest)}


def _direction(moved: Sequence[tuple[Tried, Change]], moves: int) -> dict[str, Json]:
    history = [tried for tried, _ in moved]
    gains = [tried.gain for tried in history if tried.gain is not None]
    lost = [(tried, change) for tried, change in moved if tried.outcome is not Outcome.IMPROVED]
    told: dict[str, Json] = {"tried": len(moved), **_counts(history)}
    told["together"] = sum(1 for tried in history if len(tried.changes) > 1)
    if gains:
        told["mean_gain"] = _rounded(sum(gains) / len(gains))
    if moves:
        told["lost"] = [_lost(tried, change) for tried, change in lost[len(lost) - min(moves, len(lost)) :]]
    return told


def _lost(tried: Tried, change: Change) -> dict[str, Json]:
    told: dict[str, Json] = {"number": tried.number, "from": _value(change.before), "to": _value(change.after)}
    if tried.gain is not None:
        told["gain"] = _rounded(tried.gain)
    if tried.failure:
        told["failure"] = _short(tried.failure)
    return told


def _counts(history: Sequence[Tried]) -> dict[str, int]:
    ends = [tried.outcome for tried in history if not tried.failure]
    counts = {
        "improved": ends.count(Outcome.IMPROVED),
        "regressed": ends.count(Outcome.REGRESSED),
        "in_doubt": ends.count(Outcome.INCONCLUSIVE) + ends.count(Outcome.EQUIVALENT),
        "failed": sum(1 for tried in history if tried.failure),
        "failed_by_itself": sum(1 for tried in history if failed_by_itself(tried)),
    }
    return {name: count for name, count in counts.items() if count}


def _moves_text(changes: Sequence[Change]) -> str:
    return _short(", ".join(f"{change.knob} {change.before!r} → {change.after!r}" for change in changes))


def _value(value: Json) -> Json:
    """Return a value that is short and has a place in JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return _rounded(value)
    text = value if isinstance(value, str) else repr(value)
    return value if isinstance(value, int) and len(text) <= TEXT_MAX else _short(text)


def _rounded(value: float) -> Json:
    """Return a number in six digits; what is no number is written out, as JSON has no form for it."""
    return float(f"{value:.6g}") if abs(value) < float("inf") else repr(value)


def _short(text: str) -> str:
    """Return one line of limited length that any JSON reader takes."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= TEXT_MAX else f"{line[: TEXT_MAX - 1]}…"
