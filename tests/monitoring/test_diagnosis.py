"""Every way to fail has a class of its own, and a run that is well has no diagnosis."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.job import JobSpec, Outcome
from pilothouse.monitoring.diagnosis import Diagnosis, diagnose
from pilothouse.monitoring.observation import LOG_TAIL_CHARACTERS, FinalWord, Limits, Observation, Span, limits_of

LIMITS = Limits(timeout_seconds=3600, silent_after_seconds=600, metrics=("q_gap",), artifacts=("checkpoint",))
WELL = Observation(elapsed_seconds=100, silent_seconds=5)
KEPT = FinalWord(metrics={"q_gap": 0.07}, artifacts=frozenset({"checkpoint"}))
DONE = replace(WELL, ended=True, exit_code=0, summary=KEPT)
CRASH = "step 10\nTraceback (most recent call last):\n  File x\nKeyError: 'batch'\n"


def found(observation: Observation) -> Diagnosis:
    """Return the diagnosis, which there must be."""
    diagnosis = diagnose(observation, LIMITS)
    assert diagnosis is not None
    assert diagnosis.detail
    return diagnosis


def test_limits_are_those_of_the_spec() -> None:
    """The campaign file sets them by way of the job."""
    spec = JobSpec(
        kind="train",
        command=("x",),
        config={},
        seed=0,
        campaign="c",
        trial=1,
        metrics=("q_gap",),
        artifacts=("checkpoint",),
        timeout_seconds=3600,
        silent_after_seconds=600,
    )
    assert limits_of(spec) == LIMITS


@pytest.mark.parametrize(
    "observation",
    [
        WELL,
        replace(WELL, log_tail="warning: out of memory, retrying with half the batch"),
        replace(WELL, resume_step=100),
        replace(WELL, resume_step=100, first_step=100),
        replace(WELL, elapsed_seconds=3599, silent_seconds=599),
        replace(WELL, elapsed_seconds=9999, silent_seconds=9999, stopped_for=Outcome.TIMED_OUT),
    ],
)
def test_running_well_or_being_stopped_already_has_no_diagnosis(observation: Observation) -> None:
    """Words in a log alone are no failure."""
    assert diagnose(observation, LIMITS) is None


@pytest.mark.parametrize(
    ("observation", "outcome", "detail"),
    [
        (replace(WELL, silent_seconds=600), Outcome.SILENT, "no sign of life for 600 s"),
        (replace(WELL, elapsed_seconds=3600), Outcome.TIMED_OUT, "3600 s"),
        (replace(WELL, not_numbers={"loss": 40}), Outcome.NOT_A_NUMBER, "loss at step 40"),
        (replace(WELL, not_numbers={"loss": None}), Outcome.NOT_A_NUMBER, "loss"),
        (replace(WELL, ran_away={"loss": 40}), Outcome.NOT_A_NUMBER, "diverged: loss at step 40"),
        (replace(WELL, resume_step=100, first_step=0), Outcome.RESUMED_TOO_EARLY, "step 0, .* step 100"),
        (
            replace(WELL, silent_seconds=700, log_tail="RESOURCE_EXHAUSTED: Ran out\n"),
            Outcome.OUT_OF_MEMORY,
            "no sign of life for 700 s, after saying: RESOURCE_EXHAUSTED: Ran out",
        ),
    ],
)
def test_running_badly(observation: Observation, outcome: Outcome, detail: str) -> None:
    """Each is seen while there is still something to stop."""
    diagnosis = found(observation)
    assert diagnosis.outcome is outcome
    assert re.search(detail, diagnosis.detail)


def ended(code: int | None, log: str = "", *, peak: float | None = None, limit: float | None = None) -> Observation:
    """Build an attempt that ended by itself without a summary."""
    died = replace(DONE, exit_code=code, log_tail=log, summary=None)
    return replace(died, peak_memory_mb=peak, memory_limit_mb=limit)


def final(value: float, span: Span) -> Observation:
    """Build an attempt that ended well with this final value, after these reports of it."""
    return replace(DONE, summary=replace(KEPT, metrics={"q_gap": value}), spans={"q_gap": span})


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [
        (DONE, Outcome.SUCCEEDED),
        (replace(DONE, exit_code=None), Outcome.SUCCEEDED),
        (replace(DONE, log_tail="MemoryError, but it recovered"), Outcome.SUCCEEDED),
        (ended(0), Outcome.SUMMARY_MISSING),
        (ended(None), Outcome.SUMMARY_MISSING),
        (ended(1, CRASH), Outcome.CRASHED),
        (ended(1), Outcome.CRASHED),
        (replace(DONE, exit_code=1), Outcome.CRASHED),
        (ended(75), Outcome.CRASHED),
        (ended(-9), Outcome.CRASHED),
        (ended(137), Outcome.CRASHED),
        (ended(-15), Outcome.CRASHED),
        (ended(-9, peak=1990, limit=2000), Outcome.OUT_OF_MEMORY),
        (ended(137, peak=1990, limit=2000), Outcome.OUT_OF_MEMORY),
        (ended(-9, peak=900, limit=2000), Outcome.CRASHED),
        (ended(-11, peak=1990, limit=2000), Outcome.CRASHED),
        (ended(-9, peak=1990), Outcome.CRASHED),
        (ended(1, "MemoryError: Unable to allocate 8 GiB"), Outcome.OUT_OF_MEMORY),
        (ended(1, "torch.OutOfMemoryError: CUDA out of memory."), Outcome.OUT_OF_MEMORY),
        (ended(1, "jaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: x"), Outcome.OUT_OF_MEMORY),
        (ended(1, "Largest program allocations in hbm:"), Outcome.OUT_OF_MEMORY),
        (ended(134, "terminate called after throwing 'std::bad_alloc'"), Outcome.OUT_OF_MEMORY),
        (ended(1, "OSError: [Errno 28] No space left on device: 'x'"), Outcome.DISK_FULL),
        (ended(1, "write: Disk quota exceeded"), Outcome.DISK_FULL),
        (ended(1, "out of memory once\nretried\nOSError: No space left on device"), Outcome.DISK_FULL),
        (ended(1, "No space left on device for a cache\nMemoryError"), Outcome.OUT_OF_MEMORY),
        (replace(ended(1, CRASH), not_numbers={"loss": 3}), Outcome.NOT_A_NUMBER),
        (replace(DONE, not_numbers={"loss": 3}), Outcome.NOT_A_NUMBER),
        (replace(DONE, resume_step=100, first_step=99), Outcome.RESUMED_TOO_EARLY),
        (replace(DONE, resume_step=100), Outcome.RESUMED_TOO_EARLY),
        (replace(ended(1, CRASH), resume_step=100), Outcome.CRASHED),
        (replace(DONE, resume_step=100, first_step=100), Outcome.SUCCEEDED),
        (replace(DONE, summary=replace(KEPT, metrics={})), Outcome.PROMISE_BROKEN),
        (replace(DONE, summary=replace(KEPT, artifacts=frozenset())), Outcome.PROMISE_BROKEN),
        (replace(DONE, summary=replace(KEPT, metrics={"q_gap": math.nan})), Outcome.PROMISE_BROKEN),
        (replace(DONE, summary=replace(KEPT, problem="summary.json is a link")), Outcome.PROMISE_BROKEN),
        (replace(DONE, ran_away={"loss": 3}), Outcome.NOT_A_NUMBER),
        (final(0.0, Span(reports=3, low=3.2, high=10.9)), Outcome.PROMISE_BROKEN),
        (final(99.0, Span(reports=3, low=3.2, high=10.9)), Outcome.PROMISE_BROKEN),
        (final(0.0, Span(reports=2, low=3.2, high=10.9)), Outcome.SUCCEEDED),
        (final(3.0, Span(reports=3, low=3.2, high=10.9)), Outcome.SUCCEEDED),
        (final(0.02, Span(reports=9, low=-1.0, high=-0.01)), Outcome.SUCCEEDED),
        (replace(ended(75), stopped_for=Outcome.PREEMPTED), Outcome.PREEMPTED),
        (replace(ended(-9), stopped_for=Outcome.PREEMPTED), Outcome.PREEMPTED),
        (replace(DONE, stopped_for=Outcome.PREEMPTED), Outcome.SUCCEEDED),
        (replace(ended(75), stopped_for=Outcome.TIMED_OUT), Outcome.TIMED_OUT),
        (replace(ended(-9, CRASH), stopped_for=Outcome.SILENT), Outcome.SILENT),
        (replace(DONE, stopped_for=Outcome.CANCELLED), Outcome.CANCELLED),
        (
            replace(ended(-9, peak=1990, limit=2000), stopped_for=Outcome.LOST),
            Outcome.LOST,
        ),
    ],
)
def test_ended(observation: Observation, outcome: Outcome) -> None:
    """A kill of ours is never memory, a preemption never a failure, and exit 0 alone never a success."""
    assert found(observation).outcome is outcome


def test_detail_and_evidence_tell_a_person_enough() -> None:
    """The last words, the signal by name, what is missing by name."""
    assert found(ended(1, CRASH)).detail == "exit code 1: KeyError: 'batch'"
    assert found(ended(1, CRASH)).evidence == CRASH.rstrip("\n")
    assert found(ended(-11)).detail == "ended by SIGSEGV, though nobody here asked it to stop, and it said nothing"
    assert "nobody here asked" in found(ended(75)).detail
    assert found(ended(255, "bye")).detail == "exit code 255: bye"
    assert found(ended(143, "bye")).detail == "ended by SIGTERM, though nobody here asked it to stop: bye"
    assert found(ended(-40, "bye")).detail.startswith("ended by signal 40")
    broken = found(replace(DONE, summary=FinalWord(metrics={"loss": math.inf}, problem="artifact 'x' is gone")))
    for words in ("artifact 'x' is gone", "metric q_gap is missing", "artifact checkpoint is missing", "loss is inf"):
        assert words in broken.detail


def test_log_is_bounded_data() -> None:
    """A signature before the tail is not seen, and the evidence never grows with the log."""
    old = "MemoryError\n" + "x" * LOG_TAIL_CHARACTERS
    assert found(ended(1, old)).outcome is Outcome.CRASHED
    diagnosis = found(ended(1, ("y" * 5000 + "\n") * 100))
    assert len(diagnosis.evidence) < 10_000
    assert len(diagnosis.detail) < 1_000


codes = st.none() | st.integers(-64, 255)
observations = st.builds(
    Observation,
    elapsed_seconds=st.floats(0, 1e5),
    silent_seconds=st.floats(0, 1e5),
    ended=st.booleans(),
    exit_code=codes,
    stopped_for=st.none() | st.sampled_from(list(Outcome)),
    not_numbers=st.dictionaries(st.text(max_size=3), st.none() | st.integers(), max_size=2),
    resume_step=st.none() | st.integers(0, 5),
    first_step=st.none() | st.integers(0, 5),
    peak_memory_mb=st.none() | st.floats(0, 100),
    memory_limit_mb=st.none() | st.floats(0, 100),
    log_tail=st.text() | st.sampled_from([CRASH, "MemoryError", "\n\n", "No space left on device"]),
    summary=st.none()
    | st.builds(
        FinalWord,
        metrics=st.dictionaries(st.sampled_from(["q_gap", "loss"]), st.floats()),
        artifacts=st.frozensets(st.sampled_from(["checkpoint", "x"])),
        problem=st.sampled_from(["", "gone"]),
    ),
)


@given(observations)
def test_success_is_only_what_kept_every_promise(observation: Observation) -> None:
    """Over everything that can be seen; and every end has a diagnosis with a sentence."""
    diagnosis = diagnose(observation, LIMITS)
    if observation.ended:
        assert diagnosis is not None
        assert diagnosis.detail
    if diagnosis is None or diagnosis.outcome is not Outcome.SUCCEEDED or observation.stopped_for is Outcome.SUCCEEDED:
        return
    summary = observation.summary
    assert summary is not None
    assert math.isfinite(summary.metrics["q_gap"])
    assert "checkpoint" in summary.artifacts
    assert not summary.problem
    assert observation.exit_code in {None, 0}
    assert not observation.not_numbers


def test_what_is_quoted_cannot_steer_a_terminal() -> None:
    """A log is data: its escapes are shown and not obeyed, in the detail as in the evidence."""
    said = found(replace(WELL, ended=True, exit_code=1, log_tail="\x1b]0;title\x07\x1b[31mred\x9b2J\n"))

    assert said.detail.isprintable()
    assert "red" in said.detail
    assert said.evidence.isprintable()
