"""Tables on screens of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pilothouse.cli.table import print_table

ROWS = [{"job": "job-20261122T113401Z-3rri5pw6", "stage": "failed", "outcome": None}]


def test_a_table_that_fits_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("job", "stage", "outcome"), ROWS)

    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["job", "stage", "outcome"]
    assert line.split() == [ROWS[0]["job"], "failed", "-"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_rows_that_are_wider_than_a_terminal_become_blocks(is_terminal: bool) -> None:
    """No id is folded, so it can be copied; a pipe has its lines as ever."""
    written = io.StringIO()
    screen = Console(file=written, width=40, force_terminal=is_terminal, color_system=None)

    print_table(("job", "stage", "outcome"), ROWS, screen=screen)

    blocks = ["job      job-20261122T113401Z-3rri5pw6", "stage    failed", "outcome  -", ""]
    assert (written.getvalue().splitlines() == blocks) == is_terminal


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("job",), [])

    assert "(none)" in capsys.readouterr().out
