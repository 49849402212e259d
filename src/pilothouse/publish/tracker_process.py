"""The process that speaks with a tracker's own library, so that whatever the library does, the loop does not feel it.

    python -m pilothouse.publish.tracker_process

The first line of its input says which tracker, with its options; each further line is one run, and is answered by one
line: `{"remote": …}` when the tracker has it, `{"error": …, "denied": …}` when it has not. The end of the input ends
the process, even one whose library hangs, with all that it has started. What the library prints goes nowhere: it may
hold anything.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

LEAVE_SECONDS = 3.0
"""How long a run may still take once the input has ended: nobody hears its answer any more."""
ERROR_LETTERS_MAX = 300
PARAM_LETTERS_MAX = 500
BATCH_MAX = 500
_DENIED = frozenset({"AuthenticationError", "UsageError"})
_REFUSED = re.compile(r"\b(401|403)\b|UNAUTHENTICATED|PERMISSION_DENIED")
_FOREIGN = re.compile(r"[^A-Za-z0-9_\-. /]")
_RESERVED = frozenset({"step", "total", "time", "resumed_from"})
_ID_TAG = "pilothouse.run_id"


class Tracker(Protocol):
    """One tracker's library, as far as it is used here."""

    def mirror(self, run: Mapping[str, Any], curve: Path | None, *, again: bool) -> str:
        """Bring a run to the tracker and return its name there; `again` says that it may have been begun before."""
        ...


class Wandb:
    """Weights & Biases; in the mode `offline` its files lie in `folder`, until somebody runs `wandb sync`."""

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        self._library = import_module("wandb")
        self._options, self._folder = options, folder

    def mirror(self, run: Mapping[str, Any], curve: Path | None, *, again: bool) -> str:
        """Make the run under its own id, so that a second time is the same run."""
        offline = self._options["mode"] == "offline"
        if again and offline:
            for left in self._folder.glob(f"wandb/offline-run-*-{run['id']}"):
                shutil.rmtree(left)
        self._folder.mkdir(parents=True, exist_ok=True)
        made = self._library.init(
            project=self._options["project"],
            entity=self._options.get("entity"),
            mode=self._options["mode"],
            dir=str(self._folder),
            id=run["id"],
            name=run["name"],
            group=run["group"],
            job_type=run["purpose"],
            tags=[tag[:64] for tag in run["tags"]],
            config=dict(run["config"]),
            resume=None if offline else "allow",
            settings=self._library.Settings(
                # Neither the machine, its programs, the repository nor the terminal is anybody's business.
                console="off",
                disable_git=True,
                x_disable_meta=True,
                x_disable_stats=True,
                silent=True,
            ),
        )
        begun = made.step
        for step, values in curve_of(curve):
            if step >= begun:
                made.log(values, step=step)
        made.summary.update(dict(run["summary"]))
        made.finish(exit_code=0 if run["ok"] else 1)
        return str(run["id"])


class Mlflow:
    """MLflow's client; the run is known by a tag, since its id is the server's to give."""

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        del folder
        if "://" not in options["uri"]:
            # A person has named a folder; MLflow wants to be told once more that one is meant.
            allowed = getattr(import_module("mlflow.environment_variables"), "MLFLOW_ALLOW_FILE_STORE", None)
            if allowed is not None:
                allowed.set(True)
        self._entities = import_module("mlflow.entities")
        self._client = import_module("mlflow").MlflowClient(tracking_uri=options["uri"])
        self._experiment: str | None = None
        self._name = options["experiment"]

    def mirror(self, run: Mapping[str, Any], curve: Path | None, *, again: bool) -> str:
        """Make the run, or complete the one that carries its tag."""
        del again
        experiment = self._experiment = self._experiment or self._find_experiment()
        found = self._client.search_runs([experiment], f"tags.`{_ID_TAG}` = '{run['id']}'", max_results=1)
        made = (
            found[0]
            if found
            else self._client.create_run(
                experiment, start_time=_milliseconds(run.get("started_at")), tags=_tags(run), run_name=run["name"]
            )
        )
        identity = made.info.run_id
        params = [
            self._entities.Param(_key(name), str(value)[:PARAM_LETTERS_MAX]) for name, value in run["config"].items()
        ]
        for batch in _batches(params):
            self._client.log_batch(identity, params=batch)
        for batch in _batches(self._missing(identity, run, curve)):
            self._client.log_batch(identity, metrics=batch)
        status = "FINISHED" if run["ok"] else "FAILED"
        self._client.set_terminated(identity, status=status, end_time=_milliseconds(run.get("ended_at")))
        return str(identity)

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(self._name))

    def _missing(self, identity: str, run: Mapping[str, Any], curve: Path | None) -> list[Any]:
        """Return the points that the tracker has not; the summary's numbers stand one step after the curve's last."""
        at, points, last = _milliseconds(run.get("ended_at")) or 0, [], 0
        for step, values in curve_of(curve):
            points += [(_key(name), value, step) for name, value in values.items()]
            last = max(last, step + 1)
        points += [(_key(name), value, last) for name, value in numbers(run["summary"]).items()]
        known = {
            (name, point.step)
            for name in {name for name, _, _ in points}
            for point in self._client.get_metric_history(identity, name)
        }
        return [
            self._entities.Metric(name, value, at, step) for name, value, step in points if (name, step) not in known
        ]


def curve_of(path: Path | None) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each step's finite numbers, in rising order of steps; a line that is torn or falls back is passed over."""
    if path is None or not path.is_file():
        return
    reached = -1
    with path.open("rb") as lines:
        for line in lines:
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                continue
            step = said.get("step") if isinstance(said, dict) else None
            if not isinstance(step, int) or isinstance(step, bool) or step <= reached:
                continue
            values = {name: value for name, value in numbers(said).items() if name not in _RESERVED}
            if values:
                reached = step
                yield step, values


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those values that are finite numbers."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def answer(tracker: Tracker, line: str) -> dict[str, Any]:
    """Return what came of one run, as the line says it."""
    try:
        asked = json.loads(line)
        curve = asked.get("curve")
        remote = tracker.mirror(asked["run"], None if curve is None else Path(curve), again=bool(asked.get("again")))
    except Exception as error:  # noqa: BLE001  a library may raise anything, and the next run may go well
        return told(error)
    return {"remote": remote}


def told(error: Exception) -> dict[str, Any]:
    """Return an error as an answer; `denied` says that no other run would fare better."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    denied = isinstance(error, ImportError) or type(error).__name__ in _DENIED or bool(_REFUSED.search(text))
    return {"error": text[:ERROR_LETTERS_MAX], "denied": denied}


def tracker_of(order: Mapping[str, Any]) -> Tracker:
    """Return the tracker that the first line names; `ImportError` where its library is missing."""
    options, folder = order["options"], Path(order["folder"])
    return Wandb(options, folder) if order["tracker"] == "wandb" else Mlflow(options, folder)


def main() -> int:
    """Serve until the input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    lines: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    order = json.loads(lines.get() or "{}")
    tracker: Tracker | None = None
    while (line := lines.get()) is not None:
        try:
            tracker = tracker or tracker_of(order)
            said = answer(tracker, line)
        except Exception as error:  # noqa: BLE001  as above: a library that cannot be loaded is an answer
            said = told(error)
        out.write(json.dumps(said) + "\n")
        out.flush()
    return 0


def _listen(lines: SimpleQueue[str | None]) -> None:
    """Take in what is asked for; whoever asked is gone once the input ends, and then nobody else would end a hang."""
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)
    threading.Event().wait(LEAVE_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {
        _ID_TAG: str(run["id"]),
        "pilothouse.group": str(run["group"]),
        "pilothouse.purpose": str(run["purpose"]),
        "pilothouse.tags": ", ".join(run["tags"]),
    }


def _key(name: str) -> str:
    return _FOREIGN.sub("_", name)[:250]


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), BATCH_MAX):
        yield items[start : start + BATCH_MAX]


if __name__ == "__main__":
    sys.exit(main())
