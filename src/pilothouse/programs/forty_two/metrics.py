"""How well moves were chosen, measured in points lost against perfect play.

Accuracy is never given without its tie ceiling: many positions have several best moves, of which only the first counts
as right, so a perfect player that breaks ties at random would score the ceiling and no more.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.forty_two.rules import HAND_POINTS
from pilothouse.programs.forty_two.tokens import TokenRows
from pilothouse.programs.permutation import mix

BLUNDER_POINTS: Final = 10
OPENING_LEFT: Final = 21
"""With this many dominoes left in the four hands, or more, a position belongs to the first two tricks."""

_NEVER = -np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a network said about each row."""

    logits: NDArray[np.float32]
    """float32[n, 7]: the largest legal one is the move."""
    value: NDArray[np.float32]
    """float32[n]: in units of 42 points, team 0 minus team 1."""


def choices(answers: Answers, rows: TokenRows) -> NDArray[np.int64]:
    """Return int64[n]: the slot with the largest legal logit."""
    chosen: NDArray[np.int64] = np.where(rows.legal != 0, answers.logits, _NEVER).argmax(axis=1)
    return chosen


def regrets(chosen: NDArray[np.int64], rows: TokenRows) -> NDArray[np.float32]:
    """Return float32[n]: how many points the chosen slot gives away against the best one."""
    value = _mover_values(rows)
    picked = np.take_along_axis(value, chosen[:, None], axis=1)[:, 0]
    lost: NDArray[np.float32] = (value.max(axis=1) - picked).astype(np.float32)
    return lost


def has_choice(rows: TokenRows) -> NDArray[np.bool_]:
    """Return bool[n]: whether the legal moves differ in worth."""
    value = _mover_values(rows)
    worst = np.where(rows.legal != 0, value, np.inf).min(axis=1)
    differs: NDArray[np.bool_] = value.max(axis=1) > worst
    return differs


def summarise(answers: Answers, rows: TokenRows) -> dict[str, float]:
    """Compute every metric over all rows; sums are exact (Shewchuk's), so no order of rows or blocks matters."""
    chosen = choices(answers, rows)
    regret = regrets(chosen, rows)
    value = _mover_values(rows)
    best = (value == value.max(axis=1, keepdims=True)).sum(axis=1)
    errors = np.abs(answers.value.astype(np.float64) * HAND_POINTS - rows.values)
    opening = rows.left >= OPENING_LEFT
    in_opening = {"q_gap_opening": _mean(regret[opening])} if opening.any() else {}
    return {
        "q_gap": _mean(regret),
        **in_opening,
        "blunder_rate": _mean(regret > BLUNDER_POINTS),
        "zero_regret_rate": _mean(regret == 0),
        "regret_p99": float(np.percentile(regret, 99, method="inverted_cdf")),
        "regret_max": float(regret.max()),
        "value_mae": _mean(errors),
        "accuracy": _mean(chosen == rows.targets),
        "accuracy_tie_ceiling": _mean(1.0 / best),
        "examples": float(len(rows)),
        "deals": float(len(np.unique(rows.deal))),
    }


def sample_columns(answers: Answers, rows: TokenRows) -> dict[str, NDArray[Any]]:
    """Return one score per example, for paired comparison; `deal` is what examples are clustered by."""
    regret = regrets(choices(answers, rows), rows)
    return {
        "example": example_ids(rows),
        "deal": rows.deal,
        "declaration": rows.declaration,
        "left": rows.left,
        "regret": regret,
        "blunder": regret > BLUNDER_POINTS,
    }


def example_ids(rows: TokenRows) -> NDArray[np.int64]:
    """Return int64[n] >= 0: a number made of deal, declaration and position, the same in every set that has it."""
    named = rows.deal.astype(np.uint64) * np.uint64(16) + rows.declaration.astype(np.uint64)
    return (mix(mix(named) ^ rows.state.astype(np.uint64)) >> np.uint64(1)).astype(np.int64)


def _mover_values(rows: TokenRows) -> NDArray[np.float64]:
    """Return float64[n, 7]: the value of each move to the mover in points, minus infinity where illegal."""
    sign = np.where(rows.teams == 0, 1.0, -1.0)
    return np.where(rows.legal != 0, rows.qvals * sign[:, None], _NEVER)


def _mean(column: NDArray[Any]) -> float:
    """Return the mean, NaN for none."""
    return math.fsum(column.astype(np.float64)) / len(column) if len(column) else math.nan
