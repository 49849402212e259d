"""A metrics line as a person reads it."""

from __future__ import annotations

import pytest

from pilothouse.cli.watch import readable


def test_a_line_is_its_step_and_its_values() -> None:
    """The time is left to the log, and numbers have the digits that say something."""
    line = '{"step": 10, "total": 1200, "time": 1795327589.52, "loss": 1.2634542346}'

    assert readable(line).split() == ["10/1200", "loss", "1.263"]


@pytest.mark.parametrize("line", ["", "no json", "[1]", '{"loss": 1}', '{"step": "x"}'])
def test_what_is_no_metrics_line_is_shown_as_it_is(line: str) -> None:
    """Nothing a program writes is lost."""
    assert readable(line) == line
