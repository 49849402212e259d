"""What the launcher puts into a run folder: run.json and config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pilothouse.trainer.errors import RunFolderBroken
from pilothouse.trainer.values import JSON, decode

LOG_FILE = "log.txt"
"""What the program prints, both streams; the launcher opens it."""
CONFIG_FILE = "config.json"
"""The applied values, complete."""
METRICS_FILE = "metrics.jsonl"
"""One line per report; the program appends to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The sealed checkpoint this attempt goes on from, and the least step it must start at."""

    checkpoint: Path
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What this attempt is asked to do, as read from the run folder."""

    run: str
    product: str
    campaign: str
    trial: int
    seed: int
    attempt: int
    deadline_s: float | None
    resume: Resume | None
    inputs: Mapping[str, list[Path]]
    config: Mapping[str, JSON]


def read_order(folder: Path) -> Order:
    """Read run.json and config.json; raises RunFolderBroken naming the file and the key."""
    run = _Document(folder / "run.json")
    return Order(
        run=run.text("run"),
        product=run.text("product", ""),
        campaign=run.text("campaign", ""),
        trial=run.whole("trial", 0),
        seed=run.whole("seed", 0),
        attempt=run.whole("attempt", 1),
        deadline_s=run.seconds("deadline_s"),
        resume=run.resume(),
        inputs=run.inputs(),
        config=_Document(folder / CONFIG_FILE).values,
    )


class _Document:
    """One JSON object on disk, read with the names of file and key in every complaint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            values = decode(path.read_bytes())
        except FileNotFoundError:
            raise self._broken("is missing") from None
        except (OSError, ValueError) as error:
            raise self._broken(f"cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise self._broken("is no JSON object")
        self.values = values

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value

    def whole(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number")
        return value

    def seconds(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self._wrong(key, "a number of seconds")
        return None if value is None else float(value)

    def resume(self) -> Resume | None:
        match self.values.get("resume"):
            case None:
                return None
            case {"checkpoint": str(checkpoint), "step": int(step)}:
                return Resume(checkpoint=Path(checkpoint), step=step)
            case _:
                raise self._wrong("resume", "null or a checkpoint with its step")

    def inputs(self) -> dict[str, list[Path]]:
        match self.values.get("inputs", {}):
            case dict(inputs):
                return {name: self._paths(name, paths) for name, paths in inputs.items()}
            case _:
                raise self._wrong("inputs", "an object of lists of folders")

    def _paths(self, name: str, paths: JSON) -> list[Path]:
        if not isinstance(paths, list):
            raise self._wrong(f"inputs.{name}", "a list of folders")
        folders = [Path(path) for path in paths if isinstance(path, str)]
        if len(folders) != len(paths):
            raise self._wrong(f"inputs.{name}", "a list of folders")
        return folders

    def _wrong(self, key: str, wanted: str) -> RunFolderBroken:
        return self._broken(f"has {key} = {self.values.get(key)!r}, which is not {wanted}")

    def _broken(self, problem: str) -> RunFolderBroken:
        return RunFolderBroken(
            f"{self.path} {problem}.", fix="let the launcher write the run folder, or write the file by the contract."
        )
