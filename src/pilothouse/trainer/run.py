"""One attempt of a run, as the training program sees it."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from pilothouse.trainer import tree
from pilothouse.trainer.checkpoints import checkpoint_name, place, prune, sweep
from pilothouse.trainer.durable import storage, sync_folder, write_bytes
from pilothouse.trainer.errors import MetricRefused, NotFinished, NotInRun, StepRefused
from pilothouse.trainer.folder import METRICS_FILE, Order, Resume, read_order
from pilothouse.trainer.values import JSON, Reported, canonical, plain_all

RUN_DIR = "PILOTHOUSE_RUN_DIR"
LEFT_EARLY = 75
"""The exit code that says: stopped on request, checkpoint kept, start me again (EX_TEMPFAIL of sysexits.h)."""


def start(*, folder: Path | None = None, keep: int = 2) -> "Run":
    """Open the run folder named by PILOTHOUSE_RUN_DIR (or `folder`) and answer SIGTERM from now on.

    `keep` checkpoints are kept besides the marked ones. Raises NotInRun or RunFolderBroken.
    """
    if folder is None:
        named = os.environ.get(RUN_DIR, "")  # noqa: TID251  the contract hands the run folder over by this variable
        if not named:
            raise NotInRun(
                f"{RUN_DIR} is not set: this program works in a run folder.",
                fix=f"start it by `pilothouse campaign run`, or set {RUN_DIR} to a folder the launcher made.",
            )
        folder = Path(named)
    if not folder.is_dir():
        raise NotInRun(f"The run folder {folder} does not exist.", fix=f"set {RUN_DIR} to an existing folder.")
    return Run(folder.absolute(), read_order(folder), keep=keep)


class Run:
    """The run folder, opened for one attempt; use it as a context manager.

    Leaving the block by an exception leaves no summary, and Python prints the traceback and exits with 1.
    Leaving it without `finish` is a NotFinished.
    """

    def __init__(self, folder: Path, order: Order, *, keep: int) -> None:
        assert keep >= 1, f"keep must be at least 1, got {keep}"
        self.folder = folder
        self.order = order
        self._keep = keep
        self._stopping = False
        self._finished = False
        self._announced = order.resume is None
        self._artifacts: dict[str, Path] = {}
        self._lines = -1

    # ------------------------------------------------------------------ what is asked

    @property
    def config(self) -> Mapping[str, JSON]:
        """The applied values, complete."""
        return self.order.config

    @property
    def seed(self) -> int:
        """The seed of this run; the same in each attempt."""
        return self.order.seed

    @property
    def attempt(self) -> int:
        """The epoch of this attempt; it only grows."""
        return self.order.attempt

    @property
    def inputs(self) -> Mapping[str, list[Path]]:
        """Sealed folders by the name of the input, in the given order."""
        return self.order.inputs

    @property
    def resume(self) -> Resume | None:
        """Where an earlier attempt of this run left off."""
        return self.order.resume

    @property
    def stopping(self) -> bool:
        """True once SIGTERM came: save a checkpoint, then `leave`."""
        return self._stopping

    # ------------------------------------------------------------------ what is told

    def log(self, step: int, *, total: int | None = None, **metrics: Reported) -> None:
        """Append one line to metrics.jsonl; `total` is the exact last step.

        The first line of a resumed attempt also carries `resumed_from`. Raises StepRefused for a step before the one
        resumed from: the work would be done twice.
        """
        self._check_step(step)
        if total is not None and step > total:
            raise StepRefused(f"Step {step} lies beyond the total {total}.", fix="report the true total.")
        line: dict[str, JSON] = {"step": step, "total": total, "time": time.time(), **plain_all(metrics)}
        if total is None:
            del line["total"]
        if not self._announced and self.resume is not None:
            line["resumed_from"] = self.resume.step
            self._announced = True
        self._append(json.dumps(line, allow_nan=False).encode() + b"\n")

    def checkpoint(
        self,
        step: int,
        save: Callable[[Path], None],
        *,
        meta: Mapping[str, JSON] | None = None,
        marked: bool = False,
    ) -> Path:
        """Let `save` write files into a folder, seal it with the step in its meta, put it in place and return it.

        A `marked` checkpoint is never pruned. Raises StorageFailed when the disk refuses.
        """
        self._check_step(step)
        sealed: dict[str, JSON] = {**(meta or {}), "step": step}
        if marked:
            sealed["marked"] = True
        checkpoints = self.folder / "checkpoints"
        path = place(checkpoints / checkpoint_name(step), save, sealed)
        prune(checkpoints, keep=self._keep, spare=self.resume.checkpoint if self.resume else None)
        return path

    def artifact(self, name: str, save: Callable[[Path], None], *, meta: Mapping[str, JSON] | None = None) -> Path:
        """Make the output folder artifacts/<name> by the same protocol as a checkpoint, and return it.

        `meta` is read after `save` has run, which may therefore add to it what it found out.
        """
        path = place(self.folder / "artifacts" / name, save, {} if meta is None else meta)
        self._artifacts[name] = path
        return path

    def finish(
        self,
        metrics: Mapping[str, Reported],
        *,
        samples: Mapping[str, Sized] | None = None,
        artifacts: Mapping[str, Path] | None = None,
    ) -> None:
        """Write samples.parquet where `samples` (equally long columns) are given, then summary.json: the run succeeded.

        Artefacts made by `artifact` are listed by themselves; a checkpoint is listed when it is named here.
        """
        if self.resume is not None and not self._announced:
            # The checkpoint was the last one: no step is left to log, and still it must be told where this began.
            self.log(self.resume.step)
        listed: dict[str, JSON] = {}
        for name, path in {**self._artifacts, **(artifacts or {})}.items():
            tree.read_manifest(path)
            listed[name] = path.relative_to(self.folder).as_posix()
        if samples is not None:
            listed["samples"] = self._write_samples(samples)
        summary: dict[str, JSON] = {"metrics": plain_all(metrics), "artifacts": listed}
        write_bytes(self.folder / "summary.json", canonical(summary) + b"\n")
        self._finished = True

    def leave(self) -> NoReturn:
        """Exit with 75: stopped on request, to be started again from the last checkpoint."""
        raise SystemExit(LEFT_EARLY)

    # ------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGTERM, self._on_term)
        with storage(self.folder):
            # A summary from an earlier attempt would call this attempt a success before it has done anything.
            (self.folder / "summary.json").unlink(missing_ok=True)
            sync_folder(self.folder)
            sweep(self.folder / "checkpoints")
            sweep(self.folder / "artifacts")
            self._lines = os.open(self.folder / METRICS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lines)
        signal.signal(signal.SIGTERM, self._previous)
        if kind is None and not self._finished:
            raise NotFinished("The program ended without a summary.", fix="call run.finish(metrics) at the end.")

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _check_step(self, step: int) -> None:
        least = self.resume.step if self.resume else 0
        if step < least:
            raise StepRefused(
                f"Step {step} lies before step {least}, from which this attempt resumes.",
                fix="load run.resume.checkpoint and go on from run.resume.step.",
            )

    def _append(self, line: bytes) -> None:
        # One write to a descriptor in append mode: readers never see two halves of different lines.
        with storage(self.folder / METRICS_FILE):
            while line:
                line = line[os.write(self._lines, line) :]

    def _end_torn_line(self) -> None:
        """Close a line that a killed attempt left without its end, so that the next one stands alone."""
        size = os.fstat(self._lines).st_size
        if size and os.pread(self._lines, 1, size - 1) != b"\n":
            self._append(b"\n")

    def _write_samples(self, samples: Mapping[str, Sized]) -> str:
        import pyarrow as pa  # noqa: PLC0415  half a second to load, and most programs have no samples
        from pyarrow import parquet  # noqa: PLC0415  as above

        lengths = {name: len(column) for name, column in samples.items()}
        if len(set(lengths.values())) > 1:
            raise MetricRefused(f"Sample columns differ in length: {lengths}.", fix="give one value per example.")
        target = self.folder / "samples.parquet"
        buffer = pa.BufferOutputStream()
        parquet.write_table(pa.table(dict(samples)), buffer, compression="snappy")
        write_bytes(target, buffer.getvalue().to_pybytes())
        return target.name
