"""`campaign init` names what a person does next, which is another thing for a ferry."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pilothouse.cli.campaign import read_file
from pilothouse.cli.main import app
from pilothouse.errors import BadCampaignFile


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


def test_the_next_step_after_a_draft_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed can be typed as it stands; the same config again is asked for with a reason, or not at all."""
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, ["campaign", "init", "mine.toml", "--example", "ferry-nano"])

    drafted = CliRunner().invoke(app, ["proposal", "draft", "--file", "mine.toml"])
    groundless = CliRunner().invoke(app, ["proposal", "draft", "--identical", " "])

    assert drafted.exit_code == 0
    assert "pilothouse campaign run mine.toml --once" in drafted.output
    assert groundless.exit_code == 2


@pytest.mark.parametrize(
    ("file", "said"),
    [("none.toml", "there is no file none.toml"), (".", "Is a directory"), ("bytes.toml", "it is not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_told_with_its_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, said: str
) -> None:
    """Nobody is told to write a campaign over a folder or over something else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xa7\xff")

    with pytest.raises(BadCampaignFile) as refused:
        read_file(Path(file))

    assert said in refused.value.message
    assert ("campaign init" in refused.value.fix) is (file == "none.toml")
