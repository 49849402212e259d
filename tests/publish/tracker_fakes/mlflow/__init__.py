"""A strict fake of the part of MLflow's client that is used; its server is one JSON file at the address."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .entities import Metric, Param

_KEY = re.compile(r"[\w\-. /]{1,250}")
_FILTER = re.compile(r"tags\.`(?P<tag>[\w.]+)` = '(?P<value>[^']+)'")


class MlflowClient:
    """Experiments by name, runs by number; a parameter keeps its first value, a point may come twice."""

    def __init__(self, tracking_uri: str) -> None:
        self._file = Path(tracking_uri.removeprefix("fake://"))

    def get_experiment_by_name(self, name: str) -> Any:
        """Return the experiment, or None."""
        return SimpleNamespace(experiment_id=name) if name in self._read()["experiments"] else None

    def create_experiment(self, name: str) -> str:
        """Make one; a name is taken once."""
        state = self._read()
        assert name not in state["experiments"]
        state["experiments"].append(name)
        self._write(state)
        return name

    def search_runs(self, experiments: list[str], filter_string: str, *, max_results: int) -> list[Any]:
        """Return the runs that carry a tag."""
        found = _FILTER.fullmatch(filter_string)
        assert found, filter_string
        state = self._read()
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=identity))
            for identity, run in state["runs"].items()
            if run["experiment"] in experiments and run["tags"].get(found["tag"]) == found["value"]
        ][:max_results]

    def create_run(self, experiment: str, *, start_time: int, tags: dict[str, str], run_name: str) -> Any:
        """Begin a run."""
        assert isinstance(start_time, int)
        state = self._read()
        identity = f"run{len(state['runs'])}"
        state["runs"][identity] = {
            "experiment": experiment, "name": run_name, "tags": tags, "params": {}, "points": [], "status": "RUNNING",
        }  # fmt: skip
        self._write(state)
        return SimpleNamespace(info=SimpleNamespace(run_id=identity))

    def log_batch(
        self, identity: str, *, metrics: list[Metric] | None = None, params: list[Param] | None = None
    ) -> None:
        """Keep points and parameters."""
        state = self._read()
        run = state["runs"][identity]
        for param in params or []:
            assert _KEY.fullmatch(param.key), param.key
            assert run["params"].setdefault(param.key, param.value) == param.value, "a parameter keeps its value"
        for point in metrics or []:
            assert _KEY.fullmatch(point.key), point.key
            run["points"].append([point.key, point.value, point.timestamp, point.step])
        self._write(state)

    def get_metric_history(self, identity: str, key: str) -> list[Metric]:
        """Return the points of a metric."""
        return [Metric(*point) for point in self._read()["runs"][identity]["points"] if point[0] == key]

    def set_terminated(self, identity: str, *, status: str, end_time: int | None) -> None:
        """End a run."""
        assert status in {"FINISHED", "FAILED"}
        assert end_time is None or isinstance(end_time, int)
        state = self._read()
        state["runs"][identity]["status"] = status
        self._write(state)

    def _read(self) -> Any:
        return json.loads(self._file.read_text()) if self._file.exists() else {"experiments": [], "runs": {}}

    def _write(self, state: Any) -> None:
        self._file.write_text(json.dumps(state))
