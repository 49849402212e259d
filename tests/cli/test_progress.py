"""What a running loop shows on a terminal, and what it leaves alone."""

from __future__ import annotations

import threading

import pytest

from pilothouse.cli.progress import ProgressView
from pilothouse.engine.loop_events import FerryTold, StepDone, StepSeen
from pilothouse.fleet.job import Progress
from pilothouse.testing.values import make_job, make_spec


def test_nothing_is_redrawn_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop may wait for a yes for days: the thread that redraws lives only while there is a bar to draw."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    before, spec = set(threading.enumerate()), make_spec()
    one, two = make_job(number=1), make_job(number=2)
    with ProgressView() as view:
        for event, draws in (
            (FerryTold(line="nobody has said yes"), False),
            (StepSeen(job=one, spec=spec, progress=Progress(step=1, total=2, values={})), True),
            (StepSeen(job=two, spec=spec, progress=None), True),
            (StepDone(job=two, spec=spec, seconds=1.0), False),
            (FerryTold(line="the next ferry is due at 06:00Z"), False),
            (StepSeen(job=one, spec=spec, progress=None), True),
        ):
            view(event)
            assert bool(_drawing(before, ends=not draws)) is draws

    assert not _drawing(before, ends=True)


def _drawing(before: set[threading.Thread], *, ends: bool) -> set[threading.Thread]:
    """Return the threads that were begun since then; one that `ends` was told to, and is given its moment."""
    for thread in set(threading.enumerate()) - before if ends else ():
        thread.join(10)
    return set(threading.enumerate()) - before
