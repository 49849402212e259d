"""Student's interval of a mean, against values worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from pilothouse.evidence.mean_interval import mean_interval


def test_it_is_student_s() -> None:
    """Four values with mean 2.5 and standard deviation 1.2910; t at 3 degrees is 3.18245."""
    found = mean_interval([1.0, 2.0, 3.0, 4.0], alpha=0.05)

    assert found.low == pytest.approx(2.5 - 3.182446 * 1.290994 / 2, rel=1e-5)
    assert found.high == pytest.approx(2.5 + 3.182446 * 1.290994 / 2, rel=1e-5)


def test_it_covers_as_often_as_it_says() -> None:
    """95 % of 2,000 draws of eight normal values; five standard errors are 2.4 %."""
    luck = random.Random(5)
    covered = 0
    for _ in range(2000):
        found = mean_interval([luck.gauss(3, 2) for _ in range(8)], alpha=0.05)
        covered += found.low <= 3 <= found.high

    assert 0.926 < covered / 2000 < 0.974


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_run_bounds_nothing(values: list[float]) -> None:
    """There is no spread to judge by."""
    assert mean_interval(values, alpha=0.05).low == -math.inf


@pytest.mark.parametrize("values", [[0.0, 0.0], [2.0, 2.0, 2.0], [-1e308, -1e308]])
def test_runs_that_are_equal_leave_a_point(values: list[float]) -> None:
    """Huge ones, too."""
    found = mean_interval(values, alpha=0.05)

    assert found.low == found.high == pytest.approx(values[0])
