"""Replays by hand on small clusters, and what holds for every trace and every policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.fleet.board import RESERVE_AFTER_SECONDS
from pilothouse.fleet.board_policy import Ours
from pilothouse.fleet.job import Priority
from pilothouse.fleet.policy import POLICIES, Sliced, Slices
from pilothouse.fleet.preemption import PREEMPTIONS_MAX
from pilothouse.fleet.replay import Checkpoints, Cluster, Policy, figures, replay
from pilothouse.fleet.score import DEFAULT, Weights
from pilothouse.fleet.shakes import ratios, spread
from pilothouse.fleet.trace import TraceJob

HOUR = 3600.0
FREE = Checkpoints(every_seconds=0.0, restart_seconds=0.0)


def _jobs(*rows: tuple[float, float, int], timeouts: Sequence[float | None] = ()) -> list[TraceJob]:
    limits = [*timeouts, *[None] * len(rows)]
    return [
        TraceJob(line=place + 2, submit=submit, duration=duration, gpus=gpus, timeout=limits[place])
        for place, (submit, duration, gpus) in enumerate(rows)
    ]


def _ends(jobs: Sequence[TraceJob], policy: Policy, *, gpus: int, checkpoints: Checkpoints = FREE) -> list[float]:
    cluster = Cluster(gpus, jobs, checkpoints)
    cluster.play(policy, lambda: 0.0)
    return cluster.done


def _policy(name: str, weights: Weights = DEFAULT) -> Policy:
    return POLICIES[name](weights)


# Three of four GPUs are busy until 10; then comes one that needs all, then a small one that could start at once.
BLOCKED = ((0.0, 10.0, 3), (1.0, 100.0, 4), (2.0, 5.0, 1))


def test_fifo_lets_the_head_hold_up_the_line() -> None:
    assert _ends(_jobs(*BLOCKED), _policy("fifo"), gpus=4) == [10, 110, 115]


def test_shortest_starts_what_fits_by_its_true_duration() -> None:
    assert _ends(_jobs(*BLOCKED), _policy("shortest"), gpus=4) == [10, 110, 7]
    # When the GPU is free at 10, the shortest of the two that wait comes first, though it came last.
    assert _ends(_jobs((0, 10, 1), (1, 9, 1), (2, 3, 1)), _policy("shortest"), gpus=1) == [10, 22, 13]


# The same, with a wide job that has waited for long enough to have its GPUs kept.
KEPT = ((0.0, 1000.0, 3), (1.0, 100.0, 4), (2.0 + RESERVE_AFTER_SECONDS, 50.0, 1))


def test_ours_passes_a_large_job_freely_at_first() -> None:
    assert _ends(_jobs(*BLOCKED), _policy("ours"), gpus=4) == [10, 110, 7]


def test_ours_passes_a_large_job_that_has_waited_only_if_it_ends_before_that_could_start() -> None:
    start = KEPT[2][0]
    in_time = _jobs(*KEPT, timeouts=[1000, 200, 1000 - start])
    too_long = _jobs(*KEPT, timeouts=[1000, 200, 1001 - start])

    assert _ends(in_time, _policy("ours"), gpus=4) == [1000, 1100, start + 50]
    assert _ends(too_long, _policy("ours"), gpus=4) == [1000, 1100, 1150]
    assert _ends(_jobs(*KEPT), _policy("ours"), gpus=4) == [1000, 1100, 1150]


def test_ours_stops_nobody_unless_preemption_is_on() -> None:
    """Then lower jobs make room for a critical one: those that lose least, and no more than are needed."""
    jobs = [
        TraceJob(line=2, submit=0, duration=10 * HOUR, gpus=2, priority=Priority.MEDIUM),
        TraceJob(line=3, submit=600, duration=10 * HOUR, gpus=2, priority=Priority.LOW),
        TraceJob(line=4, submit=2 * HOUR, duration=HOUR, gpus=1, priority=Priority.CRITICAL),
        TraceJob(line=5, submit=2 * HOUR, duration=HOUR, gpus=1, priority=Priority.HIGH),
    ]
    checkpoints = Checkpoints(every_seconds=3500, restart_seconds=60)
    for name, stops, end in (("ours", [0, 0, 0, 0], 11 * HOUR), ("preempting", [1, 0, 0, 0], 3 * HOUR)):
        cluster = Cluster(4, jobs, checkpoints)
        cluster.play(_policy(name), lambda: 0.0)
        assert (cluster.stops, cluster.done[2]) == (stops, end)


def test_a_job_younger_than_its_least_time_is_not_stopped_before_it_is_over() -> None:
    jobs = [
        TraceJob(line=2, submit=0, duration=HOUR, gpus=1, priority=Priority.LOW),
        TraceJob(line=3, submit=10, duration=60, gpus=1, priority=Priority.CRITICAL),
    ]

    assert _ends(jobs, _policy("preempting"), gpus=1) == [HOUR + 60, 120]


def test_a_job_that_has_had_its_slice_makes_room_and_keeps_its_checkpoint() -> None:
    jobs = _jobs((0, 10 * HOUR, 1), (5 * HOUR + 100, 600, 1))
    cluster = Cluster(1, jobs, Checkpoints(every_seconds=900, restart_seconds=60))

    cluster.play(Sliced(slices=Slices(margin_seconds=0)), lambda: 0.0)
    result = figures(cluster, 0.0)

    # It had run 20 checkpoints and 100 s, which are lost with the 60 s of its second start.
    assert cluster.done == [10 * HOUR + 600 + 100 + 60, 5 * HOUR + 100 + 600]
    assert result.preemptions == 1
    assert result.lost_gpu_hours == pytest.approx(160 / HOUR)
    assert result.longest_wait_lowest_s == 600


def test_before_its_slice_is_over_nobody_makes_room() -> None:
    jobs = _jobs((0, 10 * HOUR, 1), (3 * HOUR, 600, 1))

    ends = _ends(jobs, Sliced(slices=Slices(margin_seconds=0)), gpus=1)

    assert ends[1] == 4 * HOUR + 600


def test_a_gang_takes_all_its_gpus_or_none() -> None:
    jobs = _jobs((0, 100, 1), (1, 100, 4))

    assert _ends(jobs, _policy("ours"), gpus=4) == [100, 200]


def test_victims_that_are_not_needed_are_spared() -> None:
    # The wide job needs two GPUs: the two-GPU job alone makes room, and the other goes on.
    jobs = _jobs((0, 10 * HOUR, 1), (1, 10 * HOUR, 2), (6 * HOUR, 600, 2))
    cluster = Cluster(3, jobs, FREE)

    cluster.play(Sliced(slices=Slices(margin_seconds=0)), lambda: 0.0)

    assert cluster.stops == [0, 1, 0]


def test_nobody_makes_room_for_a_less_urgent_job_or_more_often_than_allowed() -> None:
    young = [(5 * HOUR + 7200 * place, 600.0, 1) for place in range(4)]
    jobs = _jobs((0, 20 * HOUR, 1), *young)
    urgent = [TraceJob(line=2, submit=0, duration=20 * HOUR, gpus=1, priority=Priority.CRITICAL), *jobs[1:]]
    slices = Slices(margin_seconds=0, most=2)

    for trace, stops in ((jobs, 2), (urgent, 0)):
        cluster = Cluster(1, trace, FREE)
        cluster.play(Sliced(slices=slices), lambda: 0.0)
        assert cluster.stops[0] == stops


def test_the_figures_are_those_of_the_hand_computed_replay() -> None:
    jobs = [*_jobs(*BLOCKED[:2]), TraceJob(line=4, submit=2, duration=5, gpus=1, priority=Priority.LOW)]

    result = replay(jobs, gpus=4, policy=_policy("fifo"), checkpoints=FREE, clock=lambda: 0.0)

    assert asdict(result) == pytest.approx(
        {
            "mean_completion_s": (10 + 109 + 113) / 3,
            "median_completion_s": 109,
            "p99_completion_s": 113,
            "utilisation": (30 + 400 + 5) / (4 * 115),
            "bounded_slowdown": (1 + 1.09 + 11.3) / 3,
            "longest_wait_lowest_s": 108,
            "preemptions": 0,
            "lost_gpu_hours": 0,
            "makespan_s": 115,
            "jobs": 3,
            "decision_us": 0,
        }
    )


def test_jobs_of_no_duration_end_at_once_and_spoil_no_figure() -> None:
    result = replay(_jobs((0, 0, 1)), gpus=1, policy=_policy("ours"), checkpoints=FREE, clock=lambda: 0.0)

    assert (result.mean_completion_s, result.utilisation, result.bounded_slowdown) == (0, 0, 1)


# --- for every trace

GPUS = 6
TRACES = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda hours: hours * HOUR / 2),
        st.sampled_from([0.0, 1.0, 600.0, HOUR, 5 * HOUR, 30 * HOUR]),
        st.integers(1, GPUS),
        st.sampled_from(list(Priority)),
    ),
    min_size=1,
    max_size=25,
).map(
    lambda rows: [
        TraceJob(line=place + 2, submit=submit, duration=duration, gpus=gpus, priority=priority)
        for place, (submit, duration, gpus, priority) in enumerate(sorted(rows, key=lambda row: row[0]))
    ]
)


@dataclass
class Watched:
    """A policy, and what must hold after each of its decisions."""

    policy: Policy
    greedy: bool
    waiting: set[int] = field(default_factory=set)

    def submitted(self, job: int, cluster: Cluster) -> None:
        """Pass it on."""
        self.policy.submitted(job, cluster)
        self.waiting.add(job)

    def ended(self, job: int, cluster: Cluster) -> None:
        """Pass it on."""
        self.policy.ended(job, cluster)

    def schedule(self, cluster: Cluster) -> float | None:
        """Pass it on, and look at what came of it."""
        before = set(cluster.running)
        look = self.policy.schedule(cluster)
        self.waiting = (self.waiting | (before - set(cluster.running))) - set(cluster.running)
        taken = sum(cluster.jobs[job].gpus for job in cluster.running)
        assert cluster.free == cluster.gpus - taken >= 0
        assert look is None or look > cluster.now
        if self.greedy:
            assert all(cluster.jobs[job].gpus > cluster.free for job in self.waiting), (
                "a GPU idles beside a job that fits"
            )
        return look


@settings(max_examples=60)
@given(jobs=TRACES, name=st.sampled_from(sorted(POLICIES)))
def test_every_job_ends_capacity_holds_and_work_is_conserved(jobs: list[TraceJob], name: str) -> None:
    checkpoints = Checkpoints(every_seconds=900, restart_seconds=60)
    cluster = Cluster(GPUS, jobs, checkpoints)
    watched = Watched(_policy(name), greedy=name in {"shortest", "slices"})

    cluster.play(watched, lambda: 0.0)

    assert cluster.free == GPUS
    assert watched.waiting == set()
    for number, job in enumerate(jobs):
        assert cluster.done[number] >= job.submit + job.duration - 1e-3
        assert cluster.done[number] == pytest.approx(job.submit + cluster.waited[number] + cluster.served[number])
    served = math.fsum(cluster.served[number] * job.gpus for number, job in enumerate(jobs))
    work = math.fsum(job.gpu_seconds for job in jobs)
    assert served == pytest.approx(work + cluster.lost_gpu_seconds)
    assert name in {"preempting", "slices"} or sum(cluster.stops) == 0
    assert name != "preempting" or max(cluster.stops) <= PREEMPTIONS_MAX


@settings(max_examples=40)
@given(jobs=TRACES)
def test_the_same_trace_gives_the_same_replay(jobs: list[TraceJob]) -> None:
    assert _ends(jobs, _policy("ours"), gpus=GPUS) == _ends(jobs, _policy("ours"), gpus=GPUS)


@settings(max_examples=60)
@given(jobs=TRACES)
def test_without_limits_ours_is_no_later_than_a_line_for_any_class_alone(jobs: list[TraceJob]) -> None:
    """Jobs of one width and one priority have one order, whatever the board does with the others: that of a line."""
    alike = [TraceJob(line=job.line, submit=job.submit, duration=job.duration, gpus=2) for job in jobs]

    assert _ends(alike, _policy("ours"), gpus=GPUS) == _ends(alike, _policy("fifo"), gpus=GPUS)


@settings(max_examples=60)
@given(jobs=TRACES)
def test_a_wide_job_starts_by_what_it_was_promised(jobs: list[TraceJob]) -> None:
    """Every other job has its true duration as limit, so what was promised at the reservation is when it starts."""
    wide = TraceJob(line=1, submit=0.0, duration=HOUR, gpus=GPUS, timeout=HOUR)
    first = TraceJob(line=0, submit=0.0, duration=2 * HOUR, gpus=1, timeout=2 * HOUR)
    others = [
        TraceJob(line=job.line, submit=job.submit + 600, duration=job.duration, gpus=job.gpus, timeout=job.duration)
        for job in jobs
    ]

    ends = _ends([first, wide, *others], Ours(), gpus=GPUS)

    assert ends[1] == 3 * HOUR


def test_slices_bring_short_jobs_through_beside_long_ones_and_bound_the_wait_of_the_long() -> None:
    """An outcome, not a mechanism: a cluster full of long jobs, and a stream of short ones that FIFO lets wait."""
    long = [(float(place), 200 * HOUR, 1) for place in range(GPUS + 4)]
    short = [(2 * HOUR + 600.0 * place, 300.0, 1) for place in range(600)]
    jobs = _jobs(*long, *short)

    found = {
        name: replay(jobs, gpus=GPUS, policy=_policy(name), checkpoints=Checkpoints(), clock=lambda: 0.0)
        for name in ("fifo", "shortest", "slices")
    }

    assert found["slices"].median_completion_s < found["fifo"].median_completion_s / 20
    assert found["slices"].bounded_slowdown < found["shortest"].bounded_slowdown
    assert found["slices"].longest_wait_lowest_s < 1.5 * found["fifo"].longest_wait_lowest_s


def test_ageing_lets_a_low_job_through_a_stream_of_urgent_ones() -> None:
    """Ageing by outcome: with it the low job passes those that came later, without it it is the last."""
    stream = [
        TraceJob(line=place + 3, submit=60.0 * place, duration=60, gpus=1, priority=Priority.CRITICAL)
        for place in range(120)
    ]
    jobs = [TraceJob(line=2, submit=0, duration=60, gpus=1, priority=Priority.LOW), *stream]

    def waits(weights: Weights) -> float:
        return _ends(jobs, POLICIES["ours"](weights), gpus=1)[0]

    assert waits(Weights(age=1, priority=10)) == 32 * 60
    assert waits(Weights(age=0, priority=10)) == 121 * 60


def test_intervals_are_students_and_ratios_are_paired() -> None:
    found = spread([1.0, 2.0, 3.0])

    assert (found.mean, found.low, found.high) == pytest.approx(
        (2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3))
    )
    results = [
        replay(_jobs((0, seconds, 1)), gpus=1, policy=_policy("fifo"), checkpoints=FREE, clock=lambda: 0.0)
        for seconds in (10.0, 20.0, 40.0)
    ]
    paired = ratios(results, results, "mean_completion_s")
    assert (paired.mean, paired.low, paired.high) == (1, 1, 1)
