"""config.json as a typed value."""

from dataclasses import dataclass

import pytest

from pilothouse.trainer import JSON, OptionRefused, bounded, chosen, read_options


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    needed: int
    rate: float = bounded(0.1, low=0.0, high=1.0)
    preset: str = chosen("nano", "full")
    shuffle: bool = False
    cache: str | None = None


def test_defaults_fill_in_and_whole_numbers_pass_as_floats() -> None:
    """Only what differs need be given."""
    assert read_options(_Options, {"needed": 3, "rate": 1}) == _Options(needed=3, rate=1.0)
    assert read_options(_Options, {"needed": 3, "cache": "x", "shuffle": True}).cache == "x"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "'needed' has no value"),
        ({"needed": 1, "rat": 0.2}, "did you mean 'rate'"),
        ({"needed": 1, "zzzz": 0.2}, "known options are"),
        ({"needed": 1.5}, "needed = 1.5 is a float, not int"),
        ({"needed": True}, "needed = True is a bool"),
        ({"needed": 1, "rate": 2.0}, "rate = 2.0 lies outside 0.0 to 1.0"),
        ({"needed": 1, "rate": "fast"}, "rate = 'fast'"),
        ({"needed": 1, "preset": "huge"}, "none of nano, full"),
        ({"needed": 1, "shuffle": 1}, "shuffle = 1"),
        ({"needed": 1, "cache": 4}, "cache = 4"),
    ],
)
def test_bad_values_are_refused_by_name(config: dict[str, JSON], named: str) -> None:
    """The key, the value and what is allowed stand in the message."""
    with pytest.raises(OptionRefused, match=named):
        read_options(_Options, config)
