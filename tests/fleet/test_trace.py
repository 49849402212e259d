"""Reading a trace: what is wrong is named with its line, what is odd is counted and told."""

from __future__ import annotations

import pytest

from pilothouse.errors import BadValue
from pilothouse.fleet.job import Priority
from pilothouse.fleet.trace import read_trace

HEADER = "submit_time,duration,gpus"
SWF = (
    "; Computer: a test\n"
    "1 0 5 100 4 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1\n"
    "2 10 0 50 2 -1 -1 -1 -1 -1 1 3 1 -1 1 -1 -1 -1\n"
    "3 20 0 -1 2 -1 -1 2 60 -1 5 3 1 -1 1 -1 -1 -1\n"
)


def test_a_csv_row_is_a_job_and_extra_columns_may_stand_anywhere() -> None:
    trace = read_trace("priority,gpus,submit_time,timeout,duration\nlow,2,5,60,30.5\n0,1,7,,0\n", file="t.csv")

    first, second = trace.jobs
    assert (first.submit, first.duration, first.gpus, first.priority, first.timeout) == (5, 30.5, 2, Priority.LOW, 60)
    assert (second.priority, second.timeout, second.duration, second.line) == (Priority.CRITICAL, None, 0, 3)
    assert trace.notes == ()


def test_swf_takes_what_was_asked_for_and_leaves_out_what_never_ran() -> None:
    trace = read_trace(SWF, file="t.txt")

    assert [(job.submit, job.duration, job.gpus, job.timeout) for job in trace.jobs] == [
        (0, 100, 8, 200),
        (10, 50, 2, None),
    ]
    assert trace.left_out == {"never_ran": 1}
    assert "line 4" in trace.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        (HEADER + "\n", "no jobs"),
        ("submit_time,duration\n0,1\n", "no column gpus"),
        (HEADER + ",colour\n0,1,1,red\n", "unknown column 'colour'"),
        (HEADER + ",gpus\n0,1,1,1\n", "twice the column 'gpus'"),
        (HEADER + "\n0,1,1\n0,nan,1\n", "line 3 of t.csv: duration is 'nan'"),
        (HEADER + "\n0,-1,1\n", "line 2 of t.csv: duration is '-1'"),
        (HEADER + "\ninf,1,1\n", "line 2 of t.csv: submit_time is 'inf'"),
        (HEADER + "\n0,1,0\n", "line 2 of t.csv: gpus is '0'"),
        (HEADER + "\n0,1,1.5\n", "line 2 of t.csv: gpus is '1.5'"),
        (HEADER + "\n0,1\n", "line 2 of t.csv has 2 values"),
        (HEADER + ",priority\n0,1,1,normal\n", "line 2 of t.csv: priority is 'normal'"),
        (HEADER + ",timeout\n0,1,1,soon\n", "line 2 of t.csv: timeout is 'soon'"),
        ("; SWF\n1 2 3\n", "line 2 of t.csv has 3 fields"),
        (SWF.replace("100", "many"), "line 2 of t.csv: 'many' is no number"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_trace(text, file="t.csv")

    assert said in caught.value.message
    assert caught.value.fix


def test_unsorted_rows_are_sorted_and_told() -> None:
    trace = read_trace(HEADER + "\n9,1,1\n3,1,1\n5,1,1\n", file="t.csv")

    assert [job.submit for job in trace.jobs] == [3, 5, 9]
    assert "line 3" in trace.notes[0]


def test_jobs_that_fit_nowhere_are_left_out_and_told_unless_none_is_left() -> None:
    trace = read_trace(HEADER + "\n0,1,1\n1,1,9\n", file="t.csv")

    fitting = trace.fitting(8, file="t.csv")

    assert [job.gpus for job in fitting.jobs] == [1]
    assert fitting.left_out == {"too_large": 1}
    assert "line 3" in fitting.notes[0]
    assert trace.fitting(9, file="t.csv") is trace
    with pytest.raises(BadValue, match="fits 2 GPUs"):
        read_trace(HEADER + "\n0,1,4\n", file="t.csv").fitting(2, file="t.csv")


def test_priorities_and_shakes_follow_their_seed() -> None:
    trace = read_trace(HEADER + "\n" + "\n".join(f"{100 * place},1,1" for place in range(500)), file="t.csv")
    mix = {Priority.CRITICAL: 1.0, Priority.LOW: 3.0}

    drawn = trace.with_priorities(mix, seed=7)
    moved = trace.shaken(50, seed=7)

    assert drawn == trace.with_priorities(mix, seed=7) != trace.with_priorities(mix, seed=8)
    assert 90 < sum(job.priority is Priority.CRITICAL for job in drawn.jobs) < 160
    assert moved == trace.shaken(50, seed=7) != trace.shaken(50, seed=8)
    before = {job.line: job.submit for job in trace.jobs}
    assert all(abs(job.submit - before[job.line]) <= 50 for job in moved.jobs)
    assert list(moved.jobs) == sorted(moved.jobs, key=lambda job: job.submit)


def test_limits_are_made_up_only_where_there_are_none() -> None:
    """So many times as long as the job ran, rounded up as people write them."""
    trace = read_trace("submit_time,duration,gpus,timeout\n0,100,1,\n1,100,1,150\n2,0,1,\n", file="t.csv")

    assert [job.timeout for job in trace.with_limits(2).jobs] == [240, 150, 60]
    assert trace.with_limits(0) == trace
