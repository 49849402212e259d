"""What can go wrong between a training program and its run folder.

TrainerError
├── NotInRun            there is no run folder to work in
├── RunFolderBroken     run.json or config.json is missing or malformed
├── OptionRefused       a value in config.json is unknown, of the wrong type or out of range
├── TreeDamaged         a sealed folder does not match its manifest
├── StepRefused         a step that may not be reported or saved
├── MetricRefused       a metric or a sample column that cannot be written
├── StorageFailed       the disk refused a write
└── NotFinished         the program ended without its summary
"""


class TrainerError(Exception):
    """Something between the program and its run folder is wrong; `fix` says how to mend it."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem} Fix: {fix}")
        self.problem = problem
        self.fix = fix


class NotInRun(TrainerError):
    """There is no run folder to work in."""


class RunFolderBroken(TrainerError):
    """A file the launcher promised is missing or malformed."""


class OptionRefused(TrainerError):
    """A configured value is unknown, of the wrong type or out of range."""


class TreeDamaged(TrainerError):
    """A sealed folder does not match its manifest; the message names the file."""


class StepRefused(TrainerError):
    """The step lies before the one this attempt resumed from, or does not fit the total."""


class MetricRefused(TrainerError):
    """A metric or a sample column cannot be written."""


class StorageFailed(TrainerError):
    """The disk refused a write."""


class NotFinished(TrainerError):
    """The program ended without its summary."""
