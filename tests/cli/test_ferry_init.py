"""`campaign init` names what a person does next, which is another thing for a ferry."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pilothouse.cli.main import app


@pytest.mark.parametrize(
    ("example", "following"),
    [
        ("ferry-nano", ("proposal draft --file mine.toml", "campaign run mine.toml --once")),
        ("nano", ("campaign run mine.toml --iterations 2",)),
    ],
)
def test_the_next_step_is_one_that_its_campaign_can_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str, following: tuple[str, ...]
) -> None:
    """A ferry is drafted, approved, and run once; two iterations of it would only stop at the gate."""
    monkeypatch.chdir(tmp_path)

    said = CliRunner().invoke(app, ["campaign", "init", "mine.toml", "--example", example])

    assert said.exit_code == 0
    assert all(f"pilothouse {words}" in said.output for words in following)
    assert ("--iterations" in said.output) is (example == "nano")
