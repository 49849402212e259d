"""The peer beside our loop runs in a process of its own, and what its ledger says is checked before it is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pilothouse.errors import NotFound, OperationFailed
from pilothouse.testing.loop_bench.peer import (
    CLIPS,
    ITERATIONS,
    RATES,
    TARGET,
    ended,
    height,
    least,
    measure_peer,
    ours,
)


def told(folder: Path, statuses: list[str]) -> Path:
    """Return a peer's folder whose iterations ended so, each lower than the one before where it was kept."""
    rows = [f"{1 - place / 100:.6f}\t{status}" for place, status in enumerate(statuses)]
    (folder / "results.tsv").write_text("\n".join(["metric_value\tstatus", *rows]) + "\n", encoding="utf-8")
    events = [{"type": "proposal", "params": {"grad_clip": place % 2}} for place in range(len(statuses))]
    lines = [json.dumps(event) for event in [{"type": "cost_estimate"}, *events]]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("place", [(0, 0), (14, 15), (20, 30)])
def test_both_see_the_same_target(place: tuple[int, int], tmp_path: Path) -> None:
    """The program that the peer runs prints the height on which ours moves."""
    (tmp_path / "train.py").write_text(TARGET, encoding="utf-8")
    given = json.dumps({"learning_rate": RATES[place[0]], "grad_clip": CLIPS[place[1]]})
    told = subprocess.run(
        [sys.executable, "-I", "-S", "train.py"],
        cwd=tmp_path,
        env={"AR_PARAMS_JSON": given},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert float(told.stdout.removeprefix("val_bpb=")) == pytest.approx(height(place))
    assert least() <= height(place)


def test_what_it_kept_last_is_what_it_chose(tmp_path: Path) -> None:
    """Its iterations and the different places among them are counted, also where it ended early by itself."""
    end = ended(told(tmp_path, ["keep", "keep", *["discard"] * (ITERATIONS - 2)]), 5.0, whole=True)

    assert (end.after_proposals, end.after_evaluations) == (0.99, 0.99)
    assert (end.evaluations, end.distinct, end.seconds) == (ITERATIONS, 2, 5.0)

    early = ended(told(tmp_path, ["keep", "discard", "discard"]), 1.0, whole=False)

    assert (early.after_proposals, early.evaluations, early.distinct) == (1.0, 3, 2)


@pytest.mark.parametrize(("last", "whole"), [([], True), (["failed"], True), (["failed"], False)])
def test_a_run_with_an_iteration_missing_is_no_figure(last: list[str], whole: bool, tmp_path: Path) -> None:
    """Neither one that failed counts as measured, nor one that stopped early where it was to go on."""
    with pytest.raises(OperationFailed, match=f"{ITERATIONS - 1} of {ITERATIONS}"):
        ended(told(tmp_path, ["keep"] * (ITERATIONS - 1) + last), 5.0, whole=whole)


@pytest.mark.parametrize("ledger", [True, False])
def test_a_run_without_iterations_is_no_figure(ledger: bool, tmp_path: Path) -> None:
    """There is nothing that it chose, whether or not it came to write a ledger."""
    if ledger:
        told(tmp_path, [])
    with pytest.raises(OperationFailed, match="scored 0"):
        ended(tmp_path, 1.0, whole=False)


def test_a_peer_that_is_not_there_or_fails_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter may be named from where one stands, though the peer works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    python = Path("bin/python")
    with pytest.raises(NotFound, match="autoresearch-rl is not there"):
        measure_peer(python, seeds=1, progress=print)

    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/autoresearch-rl"
    program.write_text("#!/bin/sh\ncommand -v env >/dev/null && echo no such policy >&2\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(OperationFailed, match="ended with 3: no such policy"):
        measure_peer(python, seeds=1, progress=print)


def test_ours_moves_in_the_same_lists() -> None:
    """From the worst corner down, by the judge, within the lists."""
    end = ours("one-axis", 0, proposals=2)

    assert least() <= end.after_proposals < height((0, 0))
    assert end.after_proposals <= end.after_evaluations
    assert 1 < end.distinct < end.evaluations
