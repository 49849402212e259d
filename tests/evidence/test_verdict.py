"""A verdict follows from the interval, mirrors with the arms, and comes back from JSON as it was."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json, canonical
from pilothouse.errors import BadValue
from pilothouse.evidence.clustered import paired_clustered
from pilothouse.evidence.confidence import confidence
from pilothouse.evidence.interval import Comparison, Interval
from pilothouse.evidence.verdict import Confidence, Direction, Outcome, Verdict, judge, verdict_from_json


def comparison(low: float, high: float, *, difference: float | None = None) -> Comparison:
    """Build a comparison around an interval given by hand."""
    middle = (low + high) / 2 if difference is None else difference
    return Comparison(
        baseline=1.0,
        candidate=1.0 + middle,
        difference=middle,
        standard_error=0.1,
        degrees_of_freedom=9.0,
        interval=Interval(low=low, high=high),
        p=0.01,
        alpha=0.05,
        examples=100,
        clusters=10,
        method="by hand",
    )


@pytest.mark.parametrize(
    ("low", "high", "smallest", "lower_is_better", "higher_is_better"),
    [
        (-0.3, -0.1, None, Outcome.IMPROVED, Outcome.REGRESSED),
        (0.1, 0.3, None, Outcome.REGRESSED, Outcome.IMPROVED),
        (-0.1, 0.3, None, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (0.0, 0.3, None, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (0.0, 0.0, 0.0, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (-0.3, -0.1, 0.2, Outcome.IMPROVED, Outcome.REGRESSED),
        (-0.3, -0.1, 0.21, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
    ],
)
def test_outcome_follows_from_interval_and_size(
    low: float, high: float, smallest: float | None, lower_is_better: Outcome, higher_is_better: Outcome
) -> None:
    """The whole interval on one side, and at least the smallest effect."""
    found = comparison(low, high)
    down = judge(found, metric="q_gap", direction=Direction.MIN, smallest_effect=smallest)
    up = judge(found, metric="q_gap", direction=Direction.MAX, smallest_effect=smallest)
    assert (down.outcome, up.outcome) == (lower_is_better, higher_is_better)
    assert down.reason


def test_real_but_small_says_so() -> None:
    """A reader must not mistake it for noise."""
    found = judge(comparison(-0.3, -0.1), metric="q_gap", direction=Direction.MIN, smallest_effect=0.5)
    assert "smaller than the smallest effect of interest, 0.5" in found.reason


@pytest.mark.parametrize("smallest", [-0.1, math.nan, math.inf])
def test_impossible_smallest_effect_is_refused(smallest: float) -> None:
    """A negative size would let everything through."""
    with pytest.raises(BadValue, match="smallest effect of interest of q_gap"):
        judge(comparison(0, 1), metric="q_gap", direction=Direction.MIN, smallest_effect=smallest)


scores = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 4)), min_size=1, max_size=25
).map(np.array)


def verdict(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]], **changes: object) -> Verdict:
    """Decide on rows of (baseline, candidate, cluster), as they are or transformed."""
    arms = rows[:, 0].astype(float), rows[:, 1].astype(float)
    baseline, candidate = arms[::-1] if changes.get("swapped") else arms
    unit, shift = (4.0, 16.0) if changes.get("moved") else (1.0, 0.0)
    return judge(
        paired_clustered(baseline * unit + shift, candidate * unit + shift, rows[:, 2], alpha=0.1),
        metric="q_gap",
        direction=Direction.MAX if changes.get("other_way") else Direction.MIN,
        smallest_effect=2.0 * unit,
    )


MIRROR = {
    Outcome.IMPROVED: Outcome.REGRESSED,
    Outcome.REGRESSED: Outcome.IMPROVED,
    Outcome.INCONCLUSIVE: Outcome.INCONCLUSIVE,
}


@given(scores)
def test_swapped_arms_mirror_the_verdict(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    """What improves one way regresses the other."""
    there = verdict(rows)
    assert verdict(rows, swapped=True).outcome is MIRROR[there.outcome]
    assert verdict(rows, other_way=True).outcome is MIRROR[there.outcome]


@given(scores)
def test_another_unit_and_origin_give_the_same_verdict(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    """The unit of a metric is a convention."""
    assert verdict(rows, moved=True).outcome is verdict(rows).outcome


@given(scores)
def test_json_gives_the_verdict_back(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    """Through text, as the store keeps it, with unbounded intervals too."""
    there = verdict(rows)
    assert verdict_from_json(json.loads(canonical(there.as_json()))) == there


def test_one_cluster_is_inconclusive_with_its_reason() -> None:
    """However large the difference."""
    found = verdict(np.array([[1, 9, 0], [2, 9, 0], [3, 9, 0]]))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "one cluster" in found.reason
    assert found.as_json()["interval"] == [None, None]


def test_clear_gain_is_improved_and_says_what_the_rate_covers() -> None:
    """The scope is part of the claim."""
    rows = np.array([[20 + spread, 10 - spread, deal] for deal in range(8) for spread in (deal % 3, 1)])
    found = verdict(rows)
    assert found.outcome is Outcome.IMPROVED
    assert found.confidence is Confidence.EXPLORATORY
    assert "10 % covers the sampling of evaluation examples (16 in 8 clusters)" in found.scope
    assert "not cover training-seed noise" in found.scope


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "better"),
        ("outcome", ["improved"]),
        ("direction", None),
        ("difference", "0.1"),
        ("difference", True),
        ("interval", [0.1]),
        ("interval", [0.1, "x"]),
        ("clusters", 2.5),
        ("scope", 3),
    ],
)
def test_altered_verdict_is_refused_by_field(field: str, value: Json) -> None:
    """What the store gives back is parsed, not trusted."""
    stored = judge(comparison(0.1, 0.3), metric="q_gap", direction=Direction.MIN).as_json()
    with pytest.raises(BadValue, match=field):
        verdict_from_json({**stored, field: value})


@pytest.mark.parametrize(
    ("runs", "variants", "label"),
    [
        (1, 1, Confidence.EXPLORATORY),
        (1, 9, Confidence.EXPLORATORY),
        (2, 1, Confidence.EXPLORATORY),
        (3, 1, Confidence.REPLICATED),
        (3, 2, Confidence.STABLE),
    ],
)
def test_confidence_grows_with_runs_then_variants(runs: int, variants: int, label: Confidence) -> None:
    """One run is exploratory, whatever its interval."""
    assert confidence(runs=runs, variants=variants) is label


def test_reading_a_verdict_loads_no_numerics() -> None:
    """Every command reads verdicts, and the command line must start quickly."""
    program = "import sys, pilothouse.evidence.verdict as v; sys.exit(bool({'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
