"""The harness of the fleet's benchmark: turns, probes, peers that are there and peers that are not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pilothouse.cli.bench_fleet import cells_named
from pilothouse.errors import BadValue
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.fleet_bench.cells import CELLS, measure_fleet
from pilothouse.testing.fleet_bench.decisions import time_decisions
from pilothouse.testing.fleet_bench.peers_beside import PEERS, Peer, drain
from pilothouse.testing.fleet_bench.probe import machine, probe_flush, quantile
from pilothouse.testing.fleet_bench.rows import Figures, System, in_turns, measure_in_turns, medians
from pilothouse.testing.fleet_bench.run import Order

PEER = replace(PEERS[0], store="sqlite", jobs_per_second=10)


def system(name: str, *rates: float) -> System:
    """Return a system that is measured to have these rates, one after the other."""
    left = iter(rates)
    return System(
        name=name,
        store="sqlite",
        contract="none",
        clients=1,
        measure=lambda: Figures(claim_complete_per_s=next(left), done=1, seconds=1.0),
    )


def quiet(_: str) -> None:
    """Say nothing."""


def test_systems_take_turns_forwards_and_backwards() -> None:
    """A machine that grows slower hits them all alike: A B B A."""
    first, second = system("a"), system("b")

    assert [each.name for each in in_turns([first, second], rounds=2)] == ["a", "b", "b", "a"]


def test_every_measurement_is_a_row_between_two_probes(tmp_path: Path) -> None:
    """Rows keep the order in which things were measured, and the median is taken over a system's turns."""
    rows = measure_in_turns([system("a", 10.0, 30.0), system("b", 5.0, 7.0)], rounds=2, folder=tmp_path, progress=quiet)

    assert [(row["system"], row["turn"]) for row in rows] == [("a", 0), ("b", 1), ("b", 2), ("a", 3)]
    assert medians(rows) == {"a": 20.0, "b": 6.0}
    for row in rows:
        flush = row["fsync_us"]
        assert isinstance(flush, dict)
        assert flush.keys() == {"before", "after"}


def test_a_system_that_cannot_be_measured_is_asked_once(tmp_path: Path) -> None:
    """Its reason is told in one row, and the others go on."""
    broken = System(
        name="gone", store="sqlite", contract="none", clients=1, measure=lambda: Figures(reason="not installed")
    )

    rows = measure_in_turns([broken, system("a", 1.0, 1.0)], rounds=2, folder=tmp_path, progress=quiet)

    assert [(row["system"], row["reason"]) for row in rows] == [("gone", "not installed"), ("a", ""), ("a", "")]
    assert medians(rows) == {"a": 1.0}


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    """The cost of a flush is a positive number of microseconds, and the folder is empty again."""
    found = probe_flush(tmp_path)

    assert 0 < found.p50 <= found.p99
    assert list(tmp_path.iterdir()) == []


def test_a_quantile_is_one_of_the_values() -> None:
    """By nearest rank, from any order."""
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_the_machine_is_told(tmp_path: Path) -> None:
    """What a figure was measured on stands beside it."""
    told = machine(tmp_path)

    assert {"processor", "cores", "python", "sqlite", "file_system", "busy_share_before", "loop_ms"} <= told.keys()


@contextmanager
def place(folder: Path) -> Iterator[str]:
    """Give a folder."""
    yield str(folder)


def drained_by(tmp_path: Path, program: str) -> Figures:
    """Return what a program found that stands for a peer's."""
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    peer: Peer = replace(PEER, program=str(script))
    return drain(peer, place(tmp_path), interpreter=Path(sys.executable), seconds=0.5)


def test_a_peer_without_an_interpreter_says_how_to_get_it(tmp_path: Path) -> None:
    """It is no error: the row has a reason in place of figures."""
    found = drain(PEER, place(tmp_path), interpreter=tmp_path / "python", seconds=0.5)

    assert found.claim_complete_per_s is None
    assert "make peers" in found.reason


def test_a_peer_that_is_not_installed_gives_its_last_word(tmp_path: Path) -> None:
    """The reason is what the interpreter says."""
    assert "no_such_queue" in drained_by(tmp_path, "import no_such_queue\n").reason


def test_what_a_peer_measured_becomes_its_figures(tmp_path: Path) -> None:
    """The last line in JSON counts, whatever the library has printed before it."""
    told = {"done": 50, "seconds": 2.0, "processor_s": 0.5, "claim_ms": [1.0, 9.0], "enqueue_per_s": 3.0}
    told |= {"version": "1", "setting": "s"}
    found = drained_by(tmp_path, f"print('a banner')\nprint({json.dumps(json.dumps(told))})\n")

    assert found.reason == ""
    assert (found.claim_complete_per_s, found.claim_p50_ms, found.claim_p99_ms) == (25.0, 9.0, 9.0)
    assert found.processor_us_per_job == pytest.approx(10_000.0)


def test_a_decision_is_timed_until_nothing_waits() -> None:
    """Every job that waits is decided about once."""
    found = time_decisions(shapes=3, jobs=300)

    assert found["decisions"] == 300


def test_cells_are_chosen_by_name() -> None:
    """`all` is every cell; nothing is no choice."""
    assert cells_named("claim, decay") == ("claim", "decay")
    assert set(cells_named("all")) == {"claim", *CELLS}
    with pytest.raises(BadValue, match="no cell is named"):
        cells_named(" , ")


def test_an_unknown_cell_is_refused(tmp_path: Path) -> None:
    """The mend names those that exist."""
    order = Order(store="sqlite", folder=tmp_path, clock=FrozenClock(), cells=("clams",))

    with pytest.raises(BadValue, match="clams") as refused:
        measure_fleet(order, progress=quiet)
    assert "decision" in refused.value.fix


def test_the_fleet_itself_is_measured(tmp_path: Path) -> None:
    """A little run ends with every job completed that was claimed, and leaves nothing in the folder."""
    order = Order(store="sqlite", folder=tmp_path, clock=FrozenClock(), clients=4, seconds=0.01, rounds=1)

    figures = measure_fleet(order, progress=quiet)

    rows = figures["rows"]
    assert isinstance(rows, list)
    assert [row["system"] for row in rows if isinstance(row, dict)] == ["pilothouse", "pilothouse in batches"]
    for row in rows:
        assert isinstance(row, dict)
        assert row["reason"] == ""
        assert isinstance(row["done"], int)
        assert row["done"] > 0
    assert figures["times_the_rate_of"] == figures["in_batches_times_the_rate_of"] == {}
    assert list(tmp_path.iterdir()) == []
