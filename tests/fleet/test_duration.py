"""Durations as people write them."""

from __future__ import annotations

import pytest

from pilothouse.fleet.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("45m", 2700.0), ("2h", 7200.0), ("1d", 86400.0), ("0.5h", 1800.0)]
)
def test_durations(text: str, seconds: float) -> None:
    """Each unit means what it says."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "1 h", "2w", "0m", "1e3s"])
def test_no_durations(text: str) -> None:
    """What is no duration is refused by name."""
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(text)

    assert repr(text) in str(caught.value)
