"""What went wrong with ferries elsewhere, each as a fact that holds here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pilothouse.campaigns.action import Await
from pilothouse.campaigns.ferry import JudgeFerry
from pilothouse.campaigns.ferry_definition import Watch
from pilothouse.campaigns.ferry_failure import FailureClass, failure_of
from pilothouse.campaigns.ferry_judging import Measured, failure_of_end
from pilothouse.campaigns.ferry_letters import Sender, closing_letters
from pilothouse.campaigns.ferry_record import Monitor
from pilothouse.campaigns.ferry_watch import Seen, Standing, is_due, is_stale, look
from pilothouse.campaigns.source import read_definition
from pilothouse.campaigns.steps import StepFact
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, RunId
from pilothouse.logbook.ferry_pages import Ended
from pilothouse.logbook.letter import Kind
from tests.campaigns.ferry_world import PRODUCT, START, TEXT, World, definition_of

BOUNDS = """
[ferry.validators.loss]
at_most = 4.0

[ferry.validators.mfu_p50]
at_least = 0.22
"""
CANARY = TEXT.replace(TEXT[TEXT.index("[knobs.lr]") : TEXT.index("[metrics.loss]")], "").replace(
    'size = "125m"', 'size = "30m"\nform = "canary"'
)
RUN = RunId("daily-125m-2026-11-22")
MONITOR = Monitor(product=PRODUCT, run=RUN, owner="ada", taken_at=START)
MINUTES = timedelta(minutes=1)
WATCH = definition_of().ferry.watch


def seen(stage: Stage = Stage.BUILDING, step: int | None = None, total: int | None = None) -> Seen:
    """Return a look at the run's job."""
    return Seen(stage=stage, step=step, total=total, submitted_at=START)


def test_failure_1_a_canary_that_silently_did_nothing_has_failed() -> None:
    """Each ferry is a step of its own, so that none is taken for one that was done; and no step reported is no work."""
    world = World(definition=definition_of(CANARY))
    first = world.sail().step.key
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()
    second = world.sail().step.key

    silent = Measured(metrics={"loss": 3.0}, own={"seconds": 240.0, "attempts": 1.0, "incidents": 0.0})

    assert first != second
    assert "did no work" in failure_of_end(world.definition, silent)[0]
    assert "did no work" in failure_of_end(world.definition, replace(silent, own={"steps": 0.0}))[0]
    assert failure_of_end(world.definition, replace(silent, own={"steps": 3000.0}))[0] == ""


def test_failure_2_cancelled_is_an_outcome_with_its_evidence_and_not_silence() -> None:
    """The ferry is closed as cancelled, and even a canary, which is quiet when it goes well, opens its issue."""
    world = World(definition=definition_of(CANARY))
    world.sail()
    world.end(Stage.CANCELLED, Outcome.CANCELLED, detail="cancelled by the time limit")
    judged = world.act()
    ended = Ended(
        run=RUN,
        campaign="canary",
        number=1,
        commit="c0",
        judged={
            "failure": "cancelled",
            "checks": [],
            "key": [],
            "rival": "",
            "metrics": {},
            "own": {},
            "promoted": False,
            "held_back": "",
        },
        jobs=(),
        ended_at=START,
        next_action="a person looks",
    )
    told = closing_letters(
        Sender(product=PRODUCT, definition=world.definition, run=RUN),
        ended,
        entry="",
        log="",
        seal="",
        evidence="the end of its log",
    )

    assert isinstance(judged, JudgeFerry)
    assert judged.failure is not None
    assert judged.failure.kind is FailureClass.CANCELLED
    assert judged.failure.detail == "cancelled by the time limit"
    assert [letter.kind for letter in told] == [Kind.ISSUE, Kind.ISSUE]
    assert all(str(letter.body["text"]).startswith("the end of its log\n") for letter in told)
    assert "**failed: cancelled**" in str(told[0].body["text"])


def test_failure_3_a_placeholder_is_no_progress_and_stops_no_clock() -> None:
    """A process that holds its place for six hours is told as waiting beyond its limit, and pending is no failure."""
    limit = replace_watch(pending_limit=3600.0)
    pending = look(MONITOR, seen(Stage.QUEUED), limit, now=START + 2 * MINUTES)
    held = look(pending, seen(Stage.BUILDING), limit, now=START + 360 * MINUTES)
    zero = look(pending, seen(Stage.BUILDING, step=0, total=9), limit, now=START + 360 * MINUTES)
    moved = look(held, seen(Stage.BUILDING, step=1, total=9), limit, now=START + 370 * MINUTES)

    assert pending.state == Standing.PENDING.value
    assert "no failure" in pending.detail
    assert held.state == zero.state == Standing.PLACEHOLDER.value
    assert "beyond its limit" in held.detail
    assert moved.state == Standing.PROGRESSING.value


def test_failure_3_a_fix_that_is_not_in_the_code_is_not_launched() -> None:
    """A merge elsewhere changes nothing: only another commit of the working folder makes a relaunch."""
    world = World()
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence="NameError: name 'x' is not defined")
    world.now += timedelta(days=8)

    assert all(isinstance(world.act(), Stuck) for _ in range(8))
    assert len(world.launches) == 1


def test_failure_4_a_run_that_stands_still_is_degraded_and_not_failed() -> None:
    """Two hours without a step, then it recovers: told as degraded, never launched again, and progressing at last."""
    world = World()
    world.sail()
    monitor = look(MONITOR, seen(step=100, total=5155), WATCH, now=START + 2 * MINUTES)
    states = []
    for place in range(1, 13):
        monitor = look(monitor, seen(step=100, total=5155), WATCH, now=START + (2 + 10 * place) * MINUTES)
        states.append(monitor.state)
    recovered = look(monitor, seen(step=589, total=5155), WATCH, now=START + 150 * MINUTES)

    assert states[-1] == Standing.DEGRADED.value
    assert isinstance(world.next(), Await)
    assert recovered.state == Standing.PROGRESSING.value
    assert recovered.detail == "~589/5155"


def test_failure_5_a_relaunch_goes_on_in_the_old_namespace() -> None:
    """It is the same step, whose earlier folders the factory is handed; code and class of failure change no name."""
    world = World()
    first = world.sail()
    world.end(Stage.FAILED, Outcome.LAUNCH_FAILED)
    again = world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence="ImportError: no module named y")
    world.commit = "c1"
    patched = world.sail()

    assert first.step == again.step == patched.step
    assert [each.fact.generation for each in (first, again, patched)] == [0, 1, 2]


def test_failure_6_a_monitor_that_cannot_see_says_nothing_of_the_run() -> None:
    """Nobody has looked for two intervals: the monitor is stale, the run is what it was, and nothing is launched."""
    world = World()
    world.sail()
    monitor = look(MONITOR, seen(step=100, total=5155), WATCH, now=START + 2 * MINUTES)
    later = START + 60 * MINUTES

    assert is_stale(monitor, WATCH, now=later)
    assert monitor.state == Standing.PROGRESSING.value
    assert not is_stale(monitor, WATCH, now=START + 15 * MINUTES)
    assert isinstance(world.next(), Await)


def test_failure_7_a_success_without_its_metrics_is_none() -> None:
    """A measure that is missing, or is no number, is out of bounds, and the ferry has failed."""
    definition = read_definition(TEXT + BOUNDS, name="daily.toml")
    assert isinstance(definition, type(definition_of()))
    whole = Measured(metrics={"loss": 3.7, "mfu_p50": 0.29}, own={"steps": 3000.0})

    missing, checks = failure_of_end(definition, replace(whole, metrics={"loss": 3.7}))
    strange, _ = failure_of_end(definition, replace(whole, metrics={"loss": float("nan"), "mfu_p50": 0.29}))

    assert failure_of_end(definition, whole)[0] == ""
    assert missing == "mfu_p50 is missing, at least 0.22 is wanted"
    assert [check.passed for check in checks] == [True, False]
    assert strange.startswith("loss is missing")


def test_failure_8_how_a_run_ended_is_our_own_record_s_to_say() -> None:
    """The last step reported ends nothing, and words of a tracker in the log make no failure of a success."""
    world = World()
    awaited = world.sail()
    whole = look(MONITOR, seen(step=5155, total=5155), WATCH, now=START + 2 * MINUTES)
    shipped = StepFact(
        job=JobId("j"), generation=0, stage=Stage.SHIPPED, outcome=Outcome.SUCCEEDED, detail="tracker: crashed"
    )

    assert whole.state == Standing.PROGRESSING.value
    assert isinstance(world.next(), Await)
    world.jobs[awaited.step.key][-1] = shipped
    judged = world.next()
    assert isinstance(judged, JudgeFerry)
    assert judged.failure is None


def test_failure_9_a_gate_on_speed_reads_the_median_and_not_the_last_step() -> None:
    """The same run with a slow last step passes: the last value is no measure of the validator."""
    definition = read_definition(TEXT + BOUNDS, name="daily.toml")
    assert isinstance(definition, type(definition_of()))
    slow_end = Measured(metrics={"loss": 3.7, "mfu_p50": 0.29, "mfu": 0.124}, own={"steps": 3000.0})

    assert failure_of_end(definition, slow_end)[0] == ""


def test_memory_without_the_word_is_no_small_bug() -> None:
    """An accelerator's compiler that is out of memory raises what looks like one."""
    fact = StepFact(job=JobId("j"), generation=0, stage=Stage.FAILED, outcome=Outcome.CRASHED)

    hbm = failure_of(fact, "Program hbm requirement 20G\nKeyError: 'hbm'")
    node = failure_of(fact, "RuntimeError: No accelerator found")
    deep = failure_of(fact, "\n".join(f'  File "a.py", line {n}' for n in range(20)) + "\nKeyError: 'x'")

    assert hbm.kind is FailureClass.COMPLEX
    assert node.kind is FailureClass.INFRASTRUCTURE
    assert deep.kind is FailureClass.COMPLEX


def test_looks_come_after_120_seconds_once_and_then_each_570() -> None:
    """The file may say otherwise."""
    first = START + timedelta(seconds=120)
    after = look(MONITOR, seen(), WATCH, now=first)

    assert not is_due(MONITOR, WATCH, now=first - timedelta(seconds=1))
    assert is_due(MONITOR, WATCH, now=first)
    assert not is_due(after, WATCH, now=first + timedelta(seconds=569))
    assert is_due(after, WATCH, now=first + timedelta(seconds=570))


def replace_watch(**changes: float) -> Watch:
    """Return the watch with other limits."""
    return WATCH.model_copy(update=changes)
