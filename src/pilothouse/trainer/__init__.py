"""The small kit a training program imports: a run folder in, metrics, checkpoints and a summary out.

    from pilothouse import trainer

    with trainer.start() as run:
        for step in range(first, total):
            ...
            run.log(step, total=total, loss=loss)
            if run.stopping:
                run.checkpoint(step, save)
                run.leave()
        run.finish({"train_loss": loss}, artifacts={"checkpoint": run.checkpoint(total, save)})

SIGTERM sets `run.stopping`; `leave` exits with 75. An exception leaves no summary, whose presence is success.
Checkpoints and artefacts are made aside, sealed by a manifest written last (see `tree`), and renamed into place.
Only the standard library is needed, and a name is loaded on its first use, so any program can afford the import.
"""

import importlib

TYPE_CHECKING = False  # type checkers take this name as true; `typing` would cost more than all that is here
if TYPE_CHECKING:
    from pilothouse.trainer import tree
    from pilothouse.trainer.checkpoints import checkpoint_name, newest_checkpoint
    from pilothouse.trainer.errors import (
        MetricRefused,
        NotFinished,
        NotInRun,
        OptionRefused,
        RunFolderBroken,
        StepRefused,
        StorageFailed,
        TrainerError,
        TreeDamaged,
    )
    from pilothouse.trainer.folder import Resume
    from pilothouse.trainer.options import bounded, chosen, read_options
    from pilothouse.trainer.run import LEFT_EARLY, RUN_DIR, Run, start
    from pilothouse.trainer.values import JSON, Reported

__all__ = [
    "JSON",
    "LEFT_EARLY",
    "RUN_DIR",
    "MetricRefused",
    "NotFinished",
    "NotInRun",
    "OptionRefused",
    "Reported",
    "Resume",
    "Run",
    "RunFolderBroken",
    "StepRefused",
    "StorageFailed",
    "TrainerError",
    "TreeDamaged",
    "bounded",
    "checkpoint_name",
    "chosen",
    "newest_checkpoint",
    "read_options",
    "start",
    "tree",
]

_HOMES = {
    "checkpoints": ("checkpoint_name", "newest_checkpoint"),
    "folder": ("Resume",),
    "options": ("bounded", "chosen", "read_options"),
    "run": ("LEFT_EARLY", "RUN_DIR", "Run", "start"),
    "values": ("JSON", "Reported"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "tree":
        return importlib.import_module(f"{__name__}.tree")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOME_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
