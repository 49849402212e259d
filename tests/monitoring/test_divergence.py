"""A loss that runs away is known by its name, its size and its direction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import pytest

from pilothouse.monitoring.divergence import course_of, is_loss


def ran_away(values: Sequence[float]) -> bool:
    """Whether the loss with these values has run away by its last."""
    return reduce(lambda course, value: course.then(value), values[1:], course_of(values[0])).has_run_away()


@pytest.mark.parametrize("name", ["loss", "val_loss", "train/loss", "Loss", "eval.loss"])
def test_a_loss_is_known_by_its_name(name: str) -> None:
    """However its parts are joined."""
    assert is_loss(name)


@pytest.mark.parametrize("name", ["tokens", "lossless", "grad_norm", "loss_scale", ""])
def test_a_counter_is_no_loss(name: str) -> None:
    """It may grow as it likes."""
    assert not is_loss(name)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ([2.0, 1e3, 1e6, 1e9], True),
        ([2.0, 1.0, 1e3, 1e6, 1e9], True),
        ([1e-3, 1e1, 1e4, 1e7], True),
        ([2.0, 1e9], False),
        ([2.0, 1e9, 3.0, 2.0], False),
        ([2.0, 1e9, 1.0, 1e9, 1.0, 1e9], False),
        ([2.0, 20.0, 200.0, 2000.0], False),
        ([1e9, 2e9, 3e9, 4e9], False),
        ([-5.0, -4.0, -3.0, -2.0], False),
    ],
)
def test_only_growth_without_return_is_divergence(values: list[float], answer: bool) -> None:
    """Neither a spike nor a loss that is large by nature."""
    assert ran_away(values) is answer
