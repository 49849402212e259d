"""Keep what people find on disk about a campaign up to date while its loop runs, beside it and never in its way.

Whatever is written here is a view: each start completes what an earlier one left out, and a disk or a repository that
refuses is told and tried again, while the loop goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pilothouse.campaigns.applied import Applied
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign, TrialState
from pilothouse.campaigns.run_record import RunRecord
from pilothouse.campaigns.tracked import run_letter, trial_letter
from pilothouse.engine.engine import Engine
from pilothouse.engine.postman import delivering
from pilothouse.errors import PilothouseError
from pilothouse.logbook.letter import Letter
from pilothouse.operations.applied_configs import applied_configs, record_trouble
from pilothouse.trainer.folder import METRICS_FILE
from pilothouse.wiring.applied_commits import AppliedCommits
from pilothouse.wiring.pages import write_pages
from pilothouse.wiring.repository import NotCommitted
from pilothouse.wiring.run_folders import RunFolders
from pilothouse.wiring.trackers import settle, tracker_channels, tracker_names
from pilothouse.wiring.workspace import Workspace

LOOK_SECONDS = 1.0
CLOSE_SECONDS = 60.0
"""How long the last look may take: every git command is limited, and so is every tracker."""
COMMITS = "applied-commits.json"


def run_folders(workspace: Workspace, campaign: Campaign) -> RunFolders:
    """Return the campaign's run folders."""
    return RunFolders(home=workspace.home, root=workspace.pages(campaign).runs, blobs=workspace.blobs)


def write_records(workspace: Workspace, campaign: Campaign, *, anew: bool) -> int:
    """Write every page, and every run folder that is missing or all of them; return how many folders were made."""
    folders = run_folders(workspace, campaign)
    made = folders.complete(workspace.store, campaign, anew=anew)
    write_pages(workspace, campaign)
    return made


@dataclass(kw_only=True)
class Recorder:
    """The views of one campaign. `file` is the campaign file, None where it is not known; `trackers` names channels."""

    workspace: Workspace
    engine: Engine
    campaign: Campaign
    file: Path | None
    warn: Callable[[str], None]
    trackers: Sequence[str] = ()
    _trials_told: set[int] = field(default_factory=set)
    _folders: RunFolders = field(init=False)
    _commits: AppliedCommits | None = field(init=False)
    _seen: tuple[int, str] = (-1, "")
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self._folders = run_folders(self.workspace, self.campaign)
        self._commits = self._make_commits()

    def look(self, *, last: bool = False) -> None:
        """Write what has changed since the last look; what cannot be written is told, once for each cause."""
        self._try(self._write_folders)
        self._try(self._write_pages)
        self._try(self._tell_trials)
        self._try(partial(self._commit, last=last))

    def run(self, closing: threading.Event) -> None:
        """Look again and again, until the loop has ended."""
        while not closing.wait(LOOK_SECONDS):
            try:
                mark = self._mark()
            except PilothouseError as error:
                self._tell(f"{error.message}; {error.fix}")
                continue
            if mark != self._seen:
                self._seen = mark
                self.look()
            elif self._commits is not None:
                self._try(self._commit)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except PilothouseError as error:
            self._tell(f"{error.message}; {error.fix}")
        except Exception as error:  # noqa: BLE001  a view that cannot be drawn ends no night
            self._tell(f"a page of {self.campaign.name} cannot be made: {type(error).__name__}: {error}")

    def _tell(self, trouble: str) -> None:
        if trouble not in self._told:
            self._told.add(trouble)
            self.warn(f"note: {trouble}")

    def _mark(self) -> tuple[int, str]:
        """Return what differs as soon as a job has changed, or an entry was written by anybody."""
        with self.workspace.store.read() as tx:
            newest = tx.entries.last(self.campaign.product, self.campaign.name)
        return self.engine.changes, newest.hash if newest is not None else ""

    def _write_folders(self) -> None:
        self._folders.complete(self.workspace.store, self.campaign, tell=self._ended)

    def _write_pages(self) -> None:
        write_pages(self.workspace, self.campaign)

    def _ended(self, record: RunRecord, folder: Path) -> None:
        """Tell the trackers of a run that has ended."""
        metrics = folder / METRICS_FILE
        told = str(metrics.relative_to(self.workspace.home)) if metrics.exists() else None
        self._post(run_letter(record, channel=channel, metrics=told) for channel in self.trackers)

    def _tell_trials(self) -> None:
        """Tell the trackers of the trials that are judged for good."""
        if not self.trackers:
            return
        with self.workspace.store.read() as tx:
            trials = tx.campaigns.trials(self.campaign.product, self.campaign.name)
        for trial in trials:
            if trial.number > 0 and trial.state is TrialState.JUDGED and trial.number not in self._trials_told:
                self._post(trial_letter(self.campaign, trial, channel=channel) for channel in self.trackers)
                self._trials_told.add(trial.number)

    def _post(self, letters: Iterable[Letter]) -> None:
        """Post what is not posted yet; the run's folder is the record in this home, so no twin of it is kept."""
        wanted = list(letters)
        with self.workspace.store.read() as tx:
            new = [each for each in wanted if tx.outbox.by_key(each.product, each.channel, each.key) is None]
        if new:
            now = self.workspace.clock.now()
            self.engine.apply(lambda tx: [tx.outbox.post(each, now=now) for each in new])

    def _commit(self, *, last: bool = False) -> None:
        if self._commits is None:
            return
        with self.workspace.store.read() as tx:
            applied = applied_configs(tx, self.campaign, definition_of(self.campaign.definition))
        self._commits.bring(applied, at=self.workspace.clock.monotonic(), last=last)

    def _make_commits(self) -> AppliedCommits | None:
        if not definition_of(self.campaign.definition).records.commit or self.file is None:
            return None
        return AppliedCommits(
            folder=self.file.resolve().parent,
            campaign=self.campaign.name,
            notes=self.workspace.pages(self.campaign).runs.parent / COMMITS,
            opened=self.campaign.created_at,
            tell=self._not_committed,
        )

    def _not_committed(self, applied: Applied, trouble: NotCommitted) -> None:
        now = self.workspace.clock.now()
        new = self.engine.apply(
            lambda tx: record_trouble(tx, self.campaign, applied, why=trouble.message, mend=trouble.fix, now=now)
        )
        if new:
            self.warn(f"note: the config of trial {applied.trial} is not committed: {trouble.message}; {trouble.fix}")


@contextmanager
def recording(
    workspace: Workspace,
    engine: Engine,
    campaign: Campaign,
    *,
    file: Path | None,
    warn: Callable[[str], None],
    stop: threading.Event,
) -> Iterator[None]:
    """Record beside the block in a thread of its own, and once more after it, when everything has ended.

    What the trackers have not taken yet is waited for a little, but for a start that was asked to `stop`.
    """
    definition = definition_of(campaign.definition)
    channels = tracker_channels(workspace, definition, warn=warn)
    recorder = Recorder(
        workspace=workspace,
        engine=engine,
        campaign=campaign,
        file=file,
        warn=warn,
        trackers=tracker_names(definition),
    )
    with delivering(engine, channels):
        closing = threading.Event()
        thread = threading.Thread(target=recorder.run, args=(closing,), name="pilothouse-records", daemon=True)
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                warn("note: the records are still being written; the next start completes them")
            else:
                recorder.look(last=True)
            settle(workspace, [channel.name for channel in channels], stop=stop, warn=warn)
