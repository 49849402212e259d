"""Reading metrics.jsonl while a program writes it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.factory.plain_file import NotPlain, open_plain
from pilothouse.fleet.job import Progress
from pilothouse.fleet.wire import number_from_json
from pilothouse.monitoring.divergence import Course, course_of, is_loss
from pilothouse.monitoring.observation import Span
from pilothouse.monitoring.quoted import storable

_CHUNK_BYTES = 1 << 20
_LINE_BYTES_MAX = 1 << 20
_RESERVED = frozenset({"step", "total", "time", "resumed_from"})


@dataclass(slots=True, kw_only=True)
class Metrics:
    """What the lines so far have said, and where reading goes on.

    A last line without its end waits for the rest of it. Lines that are no JSON object are counted in `bad_lines` and
    otherwise ignored. `first_step` is the step that the first line tells, or that it says it resumed from.
    `not_numbers` names the metrics that were NaN or infinite, in order of appearance, `ran_away` the losses that were
    finite and have diverged; both tell the step. `spans` holds what was finite.
    """

    path: Path
    lines: int = 0
    bad_lines: int = 0
    first_step: int | None = None
    step: int | None = None
    total: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    not_numbers: dict[str, int | None] = field(default_factory=dict)
    ran_away: dict[str, int | None] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    _courses: dict[str, Course] = field(default_factory=dict)
    _offset: int = 0
    _partial: bytes = b""

    @property
    def progress(self) -> Progress:
        """Return the latest step, total and values."""
        return Progress(step=self.step, total=self.total, values=dict(self.values))

    def read(self) -> bool:
        """Take in what was appended since the last call, and say whether there was anything."""
        try:
            with open_plain(self.path) as stream:
                if os.fstat(stream.fileno()).st_size < self._offset:
                    # The file was made anew; what it says from its start on is news.
                    self._offset, self._partial = 0, b""
                stream.seek(self._offset)
                return self._take_all(stream.read)
        except (FileNotFoundError, NotPlain):
            return False

    def _take_all(self, read: Callable[[int], bytes]) -> bool:
        grew = False
        while chunk := read(_CHUNK_BYTES):
            grew = True
            self._offset += len(chunk)
            *whole, self._partial = (self._partial + chunk).split(b"\n")
            for line in whole:
                self._take(line)
            if len(self._partial) > _LINE_BYTES_MAX:
                self.bad_lines += 1
                self._partial = b""
        return grew

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            values: Json = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            self.bad_lines += 1
            return
        self.lines += 1
        step = _whole(values.get("step"))
        if self.first_step is None:
            resumed = _whole(values.get("resumed_from"))
            self.first_step = step if resumed is None else resumed
        self.step = self.step if step is None else step
        self.total = _whole(values.get("total")) or self.total
        for name, value in values.items():
            self._note(storable(name), number_from_json(value))

    def _note(self, name: str, number: float | None) -> None:
        if number is None or name in _RESERVED:
            return
        self.values[name] = number
        if not math.isfinite(number):
            self.not_numbers.setdefault(name, self.step)
            return
        known = self.spans.get(name)
        self.spans[name] = Span(reports=1, low=number, high=number) if known is None else known.then(number)
        if is_loss(name):
            course = self._courses[name] = (
                self._courses[name].then(number) if name in self._courses else course_of(number)
            )
            if course.has_run_away():
                self.ran_away.setdefault(name, self.step)


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
