"""A running campaign on standard error: one bar a step with its true total, one line a verdict."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pilothouse.cli.table import duration
from pilothouse.engine.loop_events import (
    AgentAsked,
    BaselineKept,
    FerryTold,
    LoopEvent,
    ProposalRefused,
    RunDoomed,
    StepDone,
    StepSeen,
    TrialConfirmed,
    TrialJudged,
)
from pilothouse.fleet.job import Job, JobSpec
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId

VALUES_SHOWN = ("loss", "samples_per_s")


class ProgressView:
    """Shows the events of a campaign's loop; in a pipe, only what has ended, a line each."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[JobId, TaskID] = {}
        self._done: set[JobId] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: LoopEvent) -> None:
        """Show one event."""
        match event:
            case StepSeen():
                self._seen(event)
            case StepDone():
                self._step_done(event.job, event.spec, event.seconds)
            case TrialJudged():
                self._judged(event)
            case TrialConfirmed():
                self._confirmed(event)
            case BaselineKept():
                floor = event.floor
                self._print(
                    f"baseline: {floor.metric} {floor.mean:.4g} ± {floor.sigma:.2g} over {event.runs} runs; 8 seeds "
                    f"find {floor.detectable:.2g}"
                )
            case RunDoomed():
                self._print(f"{event.job} is stopped, it has no chance left: {event.why}")
            case FerryTold():
                self._print(event.line)
            case AgentAsked():
                self._print(f"trial {event.number}: asking for a proposal")
            case ProposalRefused():
                self._print(f"proposal refused: {event.proposal.refusal}")

    def _seen(self, event: StepSeen) -> None:
        self._finish_others(event.job.id)
        if event.job.id not in self._tasks:
            self._bars.start()
            self._tasks[event.job.id] = self._bars.add_task(_title(event.spec), total=None, values="")
        progress = event.progress
        if progress is None or event.job.stage is Stage.QUEUED:
            return
        values = " ".join(f"{name} {progress.values[name]:.4g}" for name in VALUES_SHOWN if name in progress.values)
        self._bars.update(self._tasks[event.job.id], total=progress.total, completed=progress.step or 0, values=values)

    def _finish_others(self, current: JobId) -> None:
        """Take away the bars of jobs that the loop has left behind."""
        for job in [known for known in self._tasks if known != current]:
            self._take_away(job)

    def _take_away(self, job: JobId) -> None:
        """Remove a job's bar; without any bar nothing is redrawn, however long a loop waits."""
        self._bars.remove_task(self._tasks.pop(job))
        if not self._tasks:
            self._bars.stop()

    def _step_done(self, job: Job, spec: JobSpec, seconds: float) -> None:
        if job.id in self._tasks:
            self._take_away(job.id)
        if job.id not in self._done:
            self._done.add(job.id)
            self._print(f"{_title(spec)}  {duration(seconds)}")

    def _judged(self, event: TrialJudged) -> None:
        verdict, trial = event.trial.verdict, event.trial
        if verdict is None:
            self._print("untrained model scored: the first baseline")
            return
        moved = "the baseline moves" if event.promoted else "the baseline stays"
        if verdict.examples > 0:
            self._print(
                f"iteration {trial.number}: {verdict.outcome.value}, {verdict.metric} {verdict.baseline:.4g} → "
                f"{verdict.candidate:.4g}, change in [{verdict.low:+.3g}, {verdict.high:+.3g}]; {moved}"
            )
            return
        if verdict.alpha == 0 or verdict.candidate_runs == 0:
            self._print(f"trial {trial.number}: {event.changes or 'an identical rerun'}: {verdict.reason}")
            return
        self._print(
            f"trial {trial.number}: {event.changes or 'an identical rerun'}: {verdict.outcome.value}, "
            f"{verdict.metric} {verdict.baseline:.4g} → {verdict.candidate:.4g} over {verdict.candidate_runs} seeds, "
            f"p {verdict.p:.2g} at {verdict.alpha:.2g}; {trial.failure or moved}"
        )

    def _confirmed(self, event: TrialConfirmed) -> None:
        answer = event.trial.confirmation
        assert answer is not None, f"trial {event.trial.number} was told as confirmed without an answer"
        kept = "" if answer.gain is None else f", a gain of {answer.gain:.3g}"
        self._print(f"trial {event.trial.number}: {answer.state.value}{kept}; {answer.reason}")

    def _print(self, line: str) -> None:
        self._bars.console.print(Text(line), soft_wrap=True)


def _title(spec: JobSpec) -> str:
    where = f"iteration {spec.trial}" if spec.trial > 0 else "baseline"
    return f"{where:<12} {spec.kind:<18}"
