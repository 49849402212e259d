"""From what was seen of an attempt to how it ended, each way to fail in a class of its own.

The order of the questions is the order of certainty: what the factory itself did, then what the run reported, then what
its end left behind. Words in a log decide only when the run has failed or gone silent; a healthy program may print
"out of memory" and recover.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.fleet.job import Outcome
from pilothouse.monitoring.observation import LOG_TAIL_CHARACTERS, FinalWord, Limits, Observation, Span
from pilothouse.monitoring.quoted import plain

EXIT_ASKED_TO_STOP = 75
"""How a program that was asked to stop leaves after its checkpoint (sysexits' EX_TEMPFAIL)."""

EXIT_SIGNAL_BASE = 128
"""A shell reports a child that signal n ended as 128 + n."""

SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
}
"""The signals whose numbers Linux and macOS share; the module `signal` belongs to the shell, not to a pure room."""

SIGNAL_MAX = 31
"""The last classic signal; a code above 128 + 31, such as 255, is a program's own."""

KILLED = 9

MEMORY_LIMIT_REACHED = 0.95
"""Share of the memory limit from which a kill that nobody here sent is taken for the kernel's."""

REPORTS_LEAST = 3
"""Reports of a metric from which its final value can contradict them."""

CONTRADICTS_FROM = 0.1
"""How far beyond all reports a final value may lie, as a share of the largest of them."""

EVIDENCE_LINES = 20
LINE_CHARACTERS = 400

MEMORY_SIGNATURE = re.compile(
    r"\bMemoryError\b|out of memory|\boom[-_ ]?kill|RESOURCE_EXHAUSTED|std::bad_alloc|cannot allocate memory"
    r"|program hbm requirement|largest program allocations|exceeded hbm capacity",
    re.IGNORECASE,
)
"""What Python, C++, Linux, CUDA and XLA say when memory ends; XLA also without the word memory."""

DISK_SIGNATURE = re.compile(r"no space left on device|\bENOSPC\b|disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How an attempt ended or must end, a sentence about it, and the end of its log as evidence."""

    outcome: Outcome
    detail: str
    evidence: str


Finding: TypeAlias = tuple[Outcome, str]


def diagnose(observation: Observation, limits: Limits) -> Diagnosis | None:
    """Return what is wrong with a running attempt or how one ended, and None while it runs well.

    An attempt that is being stopped already gets no new diagnosis until it has ended.
    """
    found = _of_ended(observation, limits) if observation.ended else _of_running(observation, limits)
    if found is None:
        return None
    outcome, detail = found
    return Diagnosis(outcome=outcome, detail=detail, evidence=_evidence(observation))


def _of_running(observation: Observation, limits: Limits) -> Finding | None:
    if observation.stopped_for is not None:
        return None
    reported = _not_a_number(observation) or _resumed_too_early(observation)
    if reported is not None:
        return reported
    if observation.elapsed_seconds >= limits.timeout_seconds:
        return Outcome.TIMED_OUT, f"still running after its timeout of {limits.timeout_seconds:g} s"
    if observation.silent_seconds >= limits.silent_after_seconds:
        quiet = f"no sign of life for {observation.silent_seconds:.0f} s"
        named = _signature(observation)
        return (named[0], f"{quiet}, after {named[1]}") if named is not None else (Outcome.SILENT, quiet)
    return None


def _of_ended(observation: Observation, limits: Limits) -> Finding:
    stopped = _stopped(observation)
    if stopped is not None:
        return stopped
    reported = _not_a_number(observation) or _resumed_too_early(observation)
    if reported is not None:
        return reported
    if observation.exit_code in {None, 0}:
        return _finished(observation, limits)
    return _died(observation)


def _stopped(observation: Observation) -> Finding | None:
    """Return why the factory stopped it; one that finished before a preemption reached it has finished."""
    why = observation.stopped_for
    if why is None:
        return None
    if why is Outcome.PREEMPTED:
        if observation.exit_code == 0 and observation.summary is not None:
            return None
        how = "after its checkpoint" if observation.exit_code == EXIT_ASKED_TO_STOP else "without saying it saved"
        return why, f"preempted; it left {how} ({_exit(observation.exit_code)})"
    return why, f"stopped as {why.value} after {observation.elapsed_seconds:.0f} s ({_exit(observation.exit_code)})"


def _not_a_number(observation: Observation) -> Finding | None:
    """Return a finding where a number is none, or a loss has run away to where it soon will be none."""
    for told, words in ((observation.not_numbers, "NaN or infinite"), (observation.ran_away, "diverged")):
        if told:
            named = ", ".join(
                f"{metric} at step {step}" if step is not None else metric for metric, step in told.items()
            )
            return Outcome.NOT_A_NUMBER, f"{words}: {_clip(named)}"
    return None


def _resumed_too_early(observation: Observation) -> Finding | None:
    """Return a finding when the run began before its checkpoint, or ended well without saying where it began."""
    wanted, began = observation.resume_step, observation.first_step
    if wanted is None:
        return None
    if began is not None and began < wanted:
        return Outcome.RESUMED_TOO_EARLY, f"began at step {began}, and its checkpoint is of step {wanted}"
    if began is None and observation.ended and observation.exit_code == 0:
        return Outcome.RESUMED_TOO_EARLY, f"never said where it began, and its checkpoint is of step {wanted}"
    return None


def _finished(observation: Observation, limits: Limits) -> Finding:
    """Return how a run ended that did not fail by its exit code: success is a summary that keeps every promise."""
    summary = observation.summary
    if summary is None:
        return Outcome.SUMMARY_MISSING, f"{_exit(observation.exit_code)}, and no summary was written"
    broken = [*_broken_promises(summary, limits), *_contradictions(summary, observation.spans, limits)]
    if broken:
        return Outcome.PROMISE_BROKEN, _clip("; ".join(broken))
    return Outcome.SUCCEEDED, f"finished in {observation.elapsed_seconds:.0f} s"


def _broken_promises(summary: FinalWord, limits: Limits) -> list[str]:
    broken = [summary.problem] if summary.problem else []
    broken += [f"the metric {name} is missing" for name in limits.metrics if name not in summary.metrics]
    broken += [f"the artifact {name} is missing" for name in limits.artifacts if name not in summary.artifacts]
    broken += [
        f"the final metric {name} is {value}" for name, value in summary.metrics.items() if not math.isfinite(value)
    ]
    return broken


def _contradictions(summary: FinalWord, spans: Mapping[str, Span], limits: Limits) -> list[str]:
    """Return the promised metrics whose final value lies far outside everything that was reported under their name.

    A final evaluation may be somewhat better or worse than all before it; it is no other order of things.
    """
    found = []
    for name in limits.metrics:
        span, value = spans.get(name), summary.metrics.get(name, math.nan)
        if span is None or span.reports < REPORTS_LEAST:
            continue
        beyond = CONTRADICTS_FROM * max(abs(span.low), abs(span.high))
        if value < span.low - beyond or value > span.high + beyond:
            told = f"from {span.low:.6g} to {span.high:.6g} in {span.reports} reports"
            found.append(f"the final metric {name} is {value:.6g}, and it was {told}")
    return found


def _died(observation: Observation) -> Finding:
    """Return why a run failed by itself: memory, disk, or a crash with the last thing that it said."""
    code = observation.exit_code
    named = _signature(observation)
    if named is not None:
        return named[0], f"{_exit(code)}, after {named[1]}"
    if _signal_number(code) == KILLED and _memory_was_full(observation):
        return Outcome.OUT_OF_MEMORY, (
            f"{_exit(code)}, which was not sent from here, at {observation.peak_memory_mb:.0f} of "
            f"{observation.memory_limit_mb:.0f} MB"
        )
    said = _last_line(observation.log_tail)
    words = f": {said}" if said else ", and it said nothing"
    nobody = ", though nobody here asked it to stop" if code == EXIT_ASKED_TO_STOP or _signal_number(code) else ""
    return Outcome.CRASHED, f"{_exit(code)}{nobody}{words}"


def _signature(observation: Observation) -> Finding | None:
    """Return the cause that the log names last, with the line that names it."""
    tail = observation.log_tail[-LOG_TAIL_CHARACTERS:]
    memory = max((match.start() for match in MEMORY_SIGNATURE.finditer(tail)), default=-1)
    disk = max((match.start() for match in DISK_SIGNATURE.finditer(tail)), default=-1)
    place = max(memory, disk)
    if place < 0:
        return None
    start = tail.rfind("\n", 0, place) + 1
    line = _clip(tail[start:].splitlines()[0].strip())
    return (Outcome.OUT_OF_MEMORY if memory > disk else Outcome.DISK_FULL), f"saying: {line}"


def _memory_was_full(observation: Observation) -> bool:
    peak, limit = observation.peak_memory_mb, observation.memory_limit_mb
    return peak is not None and limit is not None and peak >= MEMORY_LIMIT_REACHED * limit


def _signal_number(code: int | None) -> int:
    """Return the number of the signal that ended the leader, itself or under a shell, or 0."""
    if code is None:
        return 0
    number = -code if code < 0 else code - EXIT_SIGNAL_BASE
    return number if 0 < number <= SIGNAL_MAX or code < 0 else 0


def _exit(code: int | None) -> str:
    if code is None:
        return "ended with an unknown exit code"
    number = _signal_number(code)
    if number:
        return f"ended by {SIGNALS.get(number, f'signal {number}')}"
    return f"exit code {code}"


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log[-LOG_TAIL_CHARACTERS:].splitlines() if line.strip()]
    return _clip(lines[-1]) if lines else ""


def _evidence(observation: Observation) -> str:
    """Return the last lines of the log, each cut to a bounded length."""
    lines = observation.log_tail[-LOG_TAIL_CHARACTERS:].splitlines()[-EVIDENCE_LINES:]
    return "\n".join(_clip(line) for line in lines)


def _clip(text: str) -> str:
    """Return the text without what steers a terminal, cut to a bounded length."""
    text = plain(text)
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"
