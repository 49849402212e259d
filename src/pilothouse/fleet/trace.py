"""A recorded workload: what was submitted when, how long it ran and how much it needed, from CSV text or SWF.

CSV has the columns `submit_time,duration,gpus` in seconds and may have `priority` (a word, or 0 for critical to 3 for
low) and `timeout` (seconds). SWF is the Standard Workload Format of the Parallel Workloads Archive; its processors are
taken for GPUs, and its requested time for the time limit.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pilothouse.errors import BadValue
from pilothouse.fleet.job import Priority

NEEDED = ("submit_time", "duration", "gpus")
OPTIONAL = ("priority", "timeout")
GPUS_MAX = 1_000_000
SECONDS_MAX = 1e12
SWF_FIELDS = 18
_SWF_SUBMIT, _SWF_RUN, _SWF_ALLOCATED, _SWF_ASKED, _SWF_LIMIT = 1, 3, 4, 7, 8
_PRIORITIES = {priority.value: priority for priority in Priority} | {
    str(priority.rank): priority for priority in Priority
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceJob:
    """One job of a trace. Times are in seconds; `timeout` is None where the trace has no limit."""

    line: int
    submit: float
    duration: float
    gpus: int
    priority: Priority = Priority.MEDIUM
    timeout: float | None = None

    @property
    def gpu_seconds(self) -> float:
        """The work that the job is."""
        return self.duration * self.gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Jobs in the order of their submission, and what is worth saying about the file they came from."""

    jobs: tuple[TraceJob, ...]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] | None = None

    def fitting(self, gpus: int, *, file: str) -> Trace:
        """Return the trace without the jobs that a cluster of so many GPUs could never run."""
        fit = tuple(job for job in self.jobs if job.gpus <= gpus)
        large = [job for job in self.jobs if job.gpus > gpus]
        if not large:
            return self
        most = max(job.gpus for job in large)
        if not fit:
            raise BadValue(
                f"no job of {file} fits {gpus} GPUs; the smallest needs {min(job.gpus for job in large)}",
                fix=f"give --cluster {most} or more",
            )
        told = f"left out {len(large)} jobs that need more than {gpus} GPUs, as in {_lines(large)}"
        return replace(
            self, jobs=fit, notes=(*self.notes, told), left_out={**(self.left_out or {}), "too_large": len(large)}
        )

    def with_limits(self, factor: float) -> Trace:
        """Return the trace with a time limit for each job that has none, as people might have written it.

        It is so many times as long as the job ran, rounded up to 1, 2, 4 … minutes.
        """
        if factor == 0:
            return self
        limited = (
            replace(job, timeout=_written(factor * job.duration)) if job.timeout is None else job for job in self.jobs
        )
        return replace(self, jobs=tuple(limited))

    def with_priorities(self, mix: Mapping[Priority, float], *, seed: int) -> Trace:
        """Return the trace with priorities drawn by these weights; the same seed draws the same."""
        names = list(mix)
        shares = np.array([mix[name] for name in names])
        drawn = np.random.default_rng(seed).choice(len(names), size=len(self.jobs), p=shares / shares.sum())
        jobs = (replace(job, priority=names[pick]) for job, pick in zip(self.jobs, drawn, strict=True))
        return replace(self, jobs=tuple(jobs))

    def shaken(self, seconds: float, *, seed: int) -> Trace:
        """Return the trace with every submission moved by up to so many seconds either way."""
        moves = np.random.default_rng(seed).uniform(-seconds, seconds, size=len(self.jobs))
        jobs = [
            replace(job, submit=max(0.0, job.submit + float(move))) for job, move in zip(self.jobs, moves, strict=True)
        ]
        return replace(self, jobs=_by_submission(jobs))


def read_trace(text: str, *, file: str) -> Trace:
    """Return the jobs of a CSV or SWF text, the latter known by its name or by a comment that begins with `;`."""
    swf = file.lower().endswith(".swf") or text.lstrip().startswith(";")
    read = _read_swf if swf else _read_csv
    trace = read(text, file=file)
    if not trace.jobs:
        raise BadValue(f"{file} has no jobs", fix="give a trace with a row per job")
    first = next(
        (late for early, late in zip(trace.jobs, trace.jobs[1:], strict=False) if late.submit < early.submit), None
    )
    if first is None:
        return trace
    told = f"sorted by submission: the job of line {first.line} was submitted before the one above it"
    return replace(trace, jobs=_by_submission(trace.jobs), notes=(*trace.notes, told))


def _by_submission(jobs: Sequence[TraceJob]) -> tuple[TraceJob, ...]:
    return tuple(sorted(jobs, key=lambda job: (job.submit, job.line)))


def _read_csv(text: str, *, file: str) -> Trace:
    reader = csv.reader(text.splitlines(), skipinitialspace=True)
    header = [name.strip() for name in next(reader, [])]
    _check_header(header, file=file)
    jobs = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        line = reader.line_num
        if len(row) != len(header):
            raise BadValue(
                f"line {line} of {file} has {len(row)} values for {len(header)} columns",
                fix=f"write {','.join(header)}",
            )
        jobs.append(_csv_job(dict(zip(header, row, strict=True)), line=line, file=file))
    return Trace(jobs=tuple(jobs))


def _check_header(header: Sequence[str], *, file: str) -> None:
    known = ",".join((*NEEDED, *OPTIONAL))
    if not any(header):
        raise BadValue(f"{file} is empty", fix=f"write a header of {known}, then a row per job")
    for name in NEEDED:
        if name not in header:
            raise BadValue(f"line 1 of {file} has no column {name}", fix=f"the columns are {known}")
    for name in header:
        if name not in (*NEEDED, *OPTIONAL) or header.count(name) > 1:
            what = "twice the column" if header.count(name) > 1 else "an unknown column"
            raise BadValue(f"line 1 of {file} has {what} {name!r:.80}", fix=f"the columns are {known}")


def _csv_job(row: Mapping[str, str], *, line: int, file: str) -> TraceJob:
    where = f"line {line} of {file}"
    priority = row.get("priority", "medium").strip().lower()
    if priority not in _PRIORITIES:
        raise BadValue(
            f"{where}: priority is {priority!r:.80}", fix=f"write {', '.join(Priority)}, or 0 for critical to 3 for low"
        )
    limit = row.get("timeout", "").strip()
    return TraceJob(
        line=line,
        submit=_seconds(row["submit_time"], "submit_time", where),
        duration=_seconds(row["duration"], "duration", where),
        gpus=_gpus(row["gpus"], where),
        priority=_PRIORITIES[priority],
        timeout=_seconds(limit, "timeout", where) if limit else None,
    )


def _seconds(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= SECONDS_MAX:
        raise BadValue(f"{where}: {name} is {text.strip()!r:.80}", fix=f"write {name} in seconds, 0 or more")
    return value


def _gpus(text: str, where: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= GPUS_MAX:
        raise BadValue(f"{where}: gpus is {text.strip()!r:.80}", fix="write a whole number of GPUs, 1 or more")
    return value


def _read_swf(text: str, *, file: str) -> Trace:
    jobs, unrun = [], []
    for line, row in _swf_rows(text):
        where = f"line {line} of {file}"
        if len(row) != SWF_FIELDS:
            raise BadValue(f"{where} has {len(row)} fields", fix=f"a line of SWF has {SWF_FIELDS}")
        asked, allocated = (_swf_number(row[place], where) for place in (_SWF_ASKED, _SWF_ALLOCATED))
        gpus, run = (asked if asked > 0 else allocated), _swf_number(row[_SWF_RUN], where)
        if run < 0 or gpus < 1:
            unrun.append(line)
            continue
        limit = _swf_number(row[_SWF_LIMIT], where)
        jobs.append(
            TraceJob(
                line=line,
                submit=_seconds(row[_SWF_SUBMIT], "the submit time", where),
                duration=run,
                gpus=_gpus(str(int(gpus)), where),
                timeout=limit if limit > 0 else None,
            )
        )
    if not unrun:
        return Trace(jobs=tuple(jobs))
    told = f"left out {len(unrun)} jobs that never ran, the first in line {unrun[0]}"
    return Trace(jobs=tuple(jobs), notes=(told,), left_out={"never_ran": len(unrun)})


def _swf_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for line, content in enumerate(text.splitlines(), start=1):
        if content.strip() and not content.lstrip().startswith(";"):
            yield line, content.split()


def _swf_number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > SECONDS_MAX:
        raise BadValue(f"{where}: {text!r:.80} is no number", fix="write -1 for what is unknown")
    return value


def _written(seconds: float) -> float:
    return 60.0 * 2.0 ** max(0, math.ceil(math.log2(seconds / 60.0))) if seconds > 0 else 60.0


def _lines(jobs: Sequence[TraceJob]) -> str:
    shown = ", ".join(str(job.line) for job in jobs[:3])
    return f"line {shown}" if len(jobs) == 1 else f"lines {shown}" + (", …" if len(jobs) > 3 else "")
