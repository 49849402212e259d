"""The folders of runs that people look into, one for each run that has ended.

    <home>/campaigns/<product>/<campaign>/runs/<run id>/
        config.json  override.json  config_diff.json  summary.json  log.txt  metrics.jsonl

They are views: the database and the blobs are the truth, and a folder that was thrown away is made again. A folder is
filled beside its place and renamed into it, so that one with a name is complete; what a kill leaves is swept at the
next start. The log and the metrics are the attempt's own files, linked, so no byte is kept twice.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.campaigns.record import Campaign
from pilothouse.campaigns.run_record import RunRecord, config_diff_json, override_json, summary_json
from pilothouse.canonical import Json
from pilothouse.errors import StorageFailed
from pilothouse.factory.collect import program_summary
from pilothouse.ids import RunId
from pilothouse.operations.curves import CURVE
from pilothouse.operations.job_view import FACTORIES, run_folder
from pilothouse.operations.run_records import ended_runs
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.store import Store
from pilothouse.trainer.durable import sync_file, sync_folder
from pilothouse.trainer.folder import LOG_FILE, METRICS_FILE

SUMMARY = "summary.json"
_ASIDE = "."
"""How the name begins of a folder that is not complete, or that gives way to a newer one."""
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(kw_only=True)
class RunFolders:
    """The run folders of one campaign; `root` is the folder that holds them, `home` the factories' own."""

    home: Path
    root: Path
    blobs: Blobs
    known: set[RunId] = field(default_factory=set)
    _swept: bool = False

    def complete(
        self,
        store: Store,
        campaign: Campaign,
        *,
        anew: bool = False,
        tell: Callable[[RunRecord, Path], None] = lambda _record, _folder: None,
    ) -> int:
        """Make every folder that is missing or older than its run, or all of them `anew`; return how many were made.

        `tell` is given each run that this process has not seen before, with its folder.
        """
        with store.read() as tx:
            missing = list(ended_runs(tx, campaign, known=self.known, recent=self._swept))
        made = 0
        try:
            self._sweep()
            for record in missing:
                folder = self.root / record.run.id
                if anew or _epoch(folder) != record.job.epoch:
                    self._make(record)
                    made += 1
                self.known.add(record.run.id)
                tell(record, folder)
        except OSError as error:
            raise StorageFailed(
                f"{error.filename or self.root} cannot be written: {error.strerror or error}",
                fix="free space, or make it writable; the run folders are then completed by themselves",
            ) from error
        return made

    def _sweep(self) -> None:
        """Remove what a killed start left half made; this process has the campaign to itself."""
        if self._swept:
            return
        for left in self.root.glob(f"{_ASIDE}*") if self.root.is_dir() else ():
            shutil.rmtree(left, ignore_errors=True)
        self._swept = True

    def _make(self, record: RunRecord) -> None:
        place = self.root / record.run.id
        aside, old = self.root / f"{_ASIDE}{record.run.id}.new", self.root / f"{_ASIDE}{record.run.id}.old"
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
        self._fill(aside, record)
        sync_folder(aside)
        if place.exists():
            place.rename(old)
        aside.rename(place)
        sync_folder(self.root)
        shutil.rmtree(old, ignore_errors=True)

    def _fill(self, folder: Path, record: RunRecord) -> None:
        attempt = self._attempt_folder(record)
        _write(folder / "config.json", record.spec.config)
        _write(folder / "override.json", override_json(record))
        _write(folder / "config_diff.json", config_diff_json(record))
        self._take_log(folder, attempt, record)
        metrics = _file(attempt, METRICS_FILE) or self._kept_metrics(record)
        if metrics is not None:
            _take(metrics, folder / METRICS_FILE)
        _write(folder / SUMMARY, summary_json(record, program_summary(attempt) if attempt is not None else None))

    def _attempt_folder(self, record: RunRecord) -> Path | None:
        """Return the newest attempt's own folder, where it lies in this home."""
        last = record.last
        return None if last is None else run_folder(self.home, factory=last.factory, folder=last.folder)

    def _take_log(self, folder: Path, attempt: Path | None, record: RunRecord) -> None:
        """Link what the program wrote; where it ran elsewhere, say where its log is."""
        log, last = _file(attempt, LOG_FILE), record.last
        if log is not None:
            _take(log, folder / LOG_FILE)
            return
        where = "never ran" if last is None else f"left none in {FACTORIES}/{last.factory}/{last.folder} of this home"
        text = f"pilothouse: no log is here: the run {where}\n" + "".join(
            f"pilothouse: {incident.diagnosis}: {incident.evidence}\n" for incident in record.incidents
        )
        _write_bytes(folder / LOG_FILE, text.encode("utf-8", "replace"))

    def _kept_metrics(self, record: RunRecord) -> Path | None:
        """Return the metrics file that a factory elsewhere has sent in."""
        kept = next((each for each in record.artifacts if each.name == CURVE), None)
        return None if kept is None else _file(self.blobs.folder(kept.digest), METRICS_FILE)


def _epoch(folder: Path) -> int | None:
    """Return for which epoch a folder was made, None for one that is not there or is no longer whole."""
    try:
        document = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return None
    epoch = document.get("epoch") if isinstance(document, Mapping) else None
    return epoch if isinstance(epoch, int) else None


def _file(folder: Path | None, name: str) -> Path | None:
    """Return the file of that name if it is one; a link could lead anywhere."""
    path = folder / name if folder is not None else None
    return path if path is not None and path.is_file() and not path.is_symlink() else None


def _take(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where the file system refuses the link."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)
        sync_file(target)


def _write(path: Path, value: Json) -> None:
    _write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def _write_bytes(path: Path, data: bytes) -> None:
    """Write and force to the disk; the folder's own rename is what makes it count."""
    path.write_bytes(data)
    sync_file(path)
