"""When the baseline moves, and when it moves back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.evidence.protocol import CONFIRMATION_LEVEL, CONFIRMATION_RUNS
from pilothouse.evidence.verdict import Direction, Outcome, Verdict


def should_promote(verdict: Verdict | None, *, held_back_by: Sequence[str] = ()) -> bool:
    """Whether the trial becomes the baseline: the first, which has nothing to be compared with, or an improved one.

    A missing verdict means that there is no baseline yet, never that the comparison failed. Guard metrics that have
    regressed hold an improved one back.
    """
    if verdict is None:
        return True
    match verdict.outcome:
        case Outcome.IMPROVED:
            return not held_back_by
        case Outcome.REGRESSED | Outcome.INCONCLUSIVE | Outcome.EQUIVALENT:
            return False
        case unknown:
            assert_never(unknown)


class Confirmation(StrEnum):
    """What fresh runs say of a promotion."""

    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled back"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The answer of a confirmation; `gain` is the re-measured one, positive when better.

    The candidate's runs are fresh, so its own luck is gone. The baseline's arm is the one that the looks saw, and what
    made it look poor then still flatters a small gain.
    """

    state: Confirmation
    gain: float | None
    p: float | None
    reason: str

    def as_json(self) -> dict[str, Json]:
        """Return the answer as JSON values."""
        return {"state": self.state.value, "gain": self.gain, "p": self.p, "reason": self.reason}


def confirmed_from_json(value: Mapping[str, Json]) -> Confirmed:
    """Read back what `as_json` wrote."""
    try:
        gain, p = (None if value[name] is None else float(str(value[name])) for name in ("gain", "p"))
        return Confirmed(state=Confirmation(str(value["state"])), gain=gain, p=p, reason=str(value["reason"]))
    except (KeyError, ValueError) as error:
        raise BadValue(
            f"a stored confirmation is {value!r}", fix="restore the database from a backup: it was altered"
        ) from error


def confirm(
    before: Sequence[float], fresh: Sequence[float], *, direction: Direction, runs: int = CONFIRMATION_RUNS
) -> Confirmed:
    """Return whether so many fresh runs of a promoted change, with seeds that no look has seen, confirm it.

    A fresh run that is NaN or infinite has failed, and rolls the promotion back.
    """
    # Commands that only read promotions need no numbers; numpy and scipy load where a confirmation is judged.
    from pilothouse.evidence.arms import arm_of, finite, standing  # noqa: PLC0415  as said above

    rival, _ = finite(before)
    values, failed = finite(fresh)
    if failed:
        return _answer(Confirmation.ROLLED_BACK, f"{failed} of {len(fresh)} fresh runs failed (NaN or infinite)")
    missing = runs - len(values)
    if missing > 0:
        return _answer(Confirmation.WAITING, f"{missing} of {runs} fresh runs are missing")
    here = standing(arm_of(rival), arm_of(values), lower_is_better=direction is Direction.MIN)
    gain, p = float(here.gain), float(here.p)
    if p <= CONFIRMATION_LEVEL:
        return Confirmed(state=Confirmation.CONFIRMED, gain=gain, p=p, reason=f"fresh runs agree: p {p:.3g}")
    reason = f"fresh runs do not repeat the gain: p {p:.3g} is above {CONFIRMATION_LEVEL:g}; the baseline moves back"
    return Confirmed(state=Confirmation.ROLLED_BACK, gain=gain, p=p, reason=reason)


def _answer(state: Confirmation, reason: str) -> Confirmed:
    return Confirmed(state=state, gain=None, p=None, reason=reason)


def before_and_after(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Return the table of a promotion in Markdown: each metric before, after, and by how much it moved."""
    rows = ["| metric | before | after | change |", "| --- | --- | --- | --- |"]
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        change = f"{new - old:+.4g}" if old is not None and new is not None else "-"
        rows.append(f"| {name} | {_cell(old)} | {_cell(new)} | {change} |")
    return "\n".join(rows)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
