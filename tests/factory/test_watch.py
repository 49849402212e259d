"""What counts as a sign of life, and how a metrics file is read while it grows."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.factory.heart import Heart
from pilothouse.factory.metrics import Metrics
from pilothouse.factory.watch import Halt, Watched, tail, watch
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.testing.factory_bench import RecordingDispatch


class ScriptedHandle:
    """A program whose every tick is a function call and one second of the clock."""

    pid = 1
    pid_started = 0.0

    def __init__(self, ticks: list[Callable[[], None]]) -> None:
        self.now = 0.0
        self.samples = 0
        self._ticks = ticks

    def wait(self, timeout_seconds: float) -> bool:
        """Do the next tick; the end of the script is the end of the program."""
        assert timeout_seconds > 0
        self.now += 1.0
        if self._ticks:
            self._ticks.pop(0)()
        return not self._ticks

    def peak_memory_mb(self) -> float | None:
        """Count the samples."""
        self.samples += 1
        return None

    def stop(self, *, grace_seconds: float) -> int | None:
        """Refuse: watching never ends a program."""
        raise AssertionError(f"stopped with {grace_seconds}")


def watch_script(
    ticks: list[Callable[[], None]],
    folder: Path,
    *,
    worries: Callable[[Watched], bool] = lambda _: False,
    lease_seconds: float = 1e6,
    stop: threading.Event | None = None,
    gone: threading.Event | None = None,
) -> tuple[Halt, Watched]:
    """Watch a scripted program on its own clock."""
    handle = ScriptedHandle(ticks)
    dispatch = RecordingDispatch()
    dispatch.lease_seconds = lease_seconds
    heart = Heart(dispatch, factory=FactoryName("f"), boot=BootId("b"), monotonic=lambda: handle.now)
    heart.beat()
    hold = heart.hold(JobId("job-1"), Epoch(1), bury=lambda _: None)
    assert hold is not None
    return watch(
        handle,
        folder,
        worries=worries,
        hold=hold,
        stop=stop or threading.Event(),
        gone=gone or threading.Event(),
        monotonic=lambda: handle.now,
    )


def idle() -> None:
    """Let a second pass."""


def appending(path: Path, text: str) -> Callable[[], None]:
    """Return a tick that appends to a file."""

    def tick() -> None:
        with path.open("a", encoding="utf-8") as out:
            out.write(text)

    return tick


@pytest.mark.parametrize("name", ["metrics.jsonl", "log.txt"])
def test_a_line_of_metrics_or_of_log_is_a_sign_of_life(name: str, tmp_path: Path) -> None:
    """Silence is counted from the last of them."""
    silences: list[float] = []

    def note(watched: Watched) -> bool:
        silences.append(watched.silent_seconds)
        return False

    watch_script([idle, idle, appending(tmp_path / name, "{}\n"), idle, idle, idle], tmp_path, worries=note)

    assert silences == [1.0, 2.0, 0.0, 1.0, 2.0]


def test_the_first_worry_ends_the_watching(tmp_path: Path) -> None:
    """At the second it is raised."""
    halt, watched = watch_script([idle] * 9, tmp_path, worries=lambda seen: seen.elapsed_seconds >= 4)

    assert (halt, watched.elapsed_seconds) == (Halt.WORRYING, 4.0)


def test_a_lease_that_runs_out_ends_the_watching_before_its_end(tmp_path: Path) -> None:
    """A sixth of it is kept for ending the tree."""
    halt, watched = watch_script([idle] * 99, tmp_path, lease_seconds=12.0)

    assert (halt, watched.elapsed_seconds) == (Halt.LEASE_OVER, 10.0)


def test_what_ends_the_watching_is_told(tmp_path: Path) -> None:
    """A lost engine counts before a stop: there is nobody to report to."""
    stop, gone = threading.Event(), threading.Event()

    assert watch_script([idle], tmp_path)[0] is Halt.EXITED
    assert watch_script([idle, stop.set, idle], tmp_path, stop=stop)[0] is Halt.STOPPED
    gone.set()
    assert watch_script([idle, idle], tmp_path, stop=stop, gone=gone)[0] is Halt.ENGINE_GONE


lines = st.lists(
    st.sampled_from(
        [
            b'{"step": 1, "total": 9, "loss": 2.5}',
            b'{"step": 2, "loss": "NaN"}',
            b'{"step": 3, "loss": NaN}',
            b'{"loss": Infinity, "note": "x"}',
            b'{"step": true, "loss": false}',
            b"not json",
            b"[1]",
            b"",
            b'{"step": 4, "gr\xc3\xb6\xc3\x9fe": 1}',
            b"\xff\xfe",
        ]
    ),
    max_size=12,
)


@given(lines, st.lists(st.integers(1, 40), max_size=30))
def test_reading_in_pieces_says_the_same_as_reading_at_once(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes], cuts: list[int]
) -> None:
    """Wherever the program's writes were cut."""
    folder = tmp_path_factory.mktemp("metrics")
    whole = b"".join(line + b"\n" for line in written)
    (folder / "whole").write_bytes(whole)
    at_once, in_pieces = Metrics(path=folder / "whole"), Metrics(path=folder / "pieces")
    at_once.read()
    start = 0
    with (folder / "pieces").open("ab", buffering=0) as out:
        for cut in [*cuts, len(whole) + 1]:
            out.write(whole[start : start + cut])
            start += cut
            in_pieces.read()

    assert repr(said(in_pieces)) == repr(said(at_once))


def said(metrics: Metrics) -> tuple[object, ...]:
    """Return all that the lines have said; compared by repr, for NaN is not equal to itself."""
    return (
        metrics.lines,
        metrics.bad_lines,
        metrics.first_step,
        metrics.step,
        metrics.total,
        metrics.values,
        metrics.not_numbers,
    )


def test_the_last_values_and_the_first_not_a_number_are_kept(tmp_path: Path) -> None:
    """Spelled as text or bare; bad lines are counted and ignored."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "total": 9, "time": 5.0, "loss": 2.5}\nnot json\n[2]\n'
        '{"step": 2, "loss": "NaN", "gap": Infinity}\n{"step": 3, "loss": 1.5, "gap": NaN}\n{"step": 4, "los',
        encoding="utf-8",
    )
    metrics = Metrics(path=path)

    assert metrics.read()
    assert not metrics.read()
    assert (metrics.lines, metrics.bad_lines, metrics.step, metrics.total) == (3, 2, 3, 9)
    assert metrics.values["loss"] == 1.5
    assert math.isnan(metrics.values["gap"])
    assert metrics.not_numbers == {"loss": 2, "gap": 2}


def test_the_first_step_is_what_the_run_says_it_resumed_from(tmp_path: Path) -> None:
    """Later lines do not change it."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"note": "warm"}\n{"step": 101, "resumed_from": 100}\n{"step": 102}\n', encoding="utf-8")
    metrics = Metrics(path=path)
    metrics.read()

    assert (metrics.first_step, metrics.step) == (100, 102)


def test_a_file_made_anew_is_read_from_its_start(tmp_path: Path) -> None:
    """And one that is not there yet is no news."""
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path=path)

    assert not metrics.read()
    path.write_text('{"step": 1, "loss": 2.5, "note": "long"}\n', encoding="utf-8")
    assert metrics.read()
    path.write_text('{"step": 7}\n', encoding="utf-8")
    assert metrics.read()
    assert metrics.step == 7


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    """It is dropped and counted as bad."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"x" * (3 << 20) + b'\n{"step": 5}\n')
    metrics = Metrics(path=path)
    metrics.read()

    assert metrics.step == 5
    assert metrics.bad_lines >= 1


def test_the_tail_of_a_log_is_bounded_text(tmp_path: Path) -> None:
    """Whatever bytes it holds; an absent log is empty."""
    (tmp_path / "log.txt").write_bytes(b"a" * 100 + b"\xff\xfe" + b"end")

    assert tail(tmp_path / "log.txt", bytes_max=5) == "\ufffd\ufffdend"
    assert tail(tmp_path / "none") == ""
