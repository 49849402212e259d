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
    before, spec = threading.active_count(), make_spec()
    one, two = make_job(number=1), make_job(number=2)
    drawing = []
    with ProgressView() as view:
        for event in (
            FerryTold(line="nobody has said yes"),
            StepSeen(job=one, spec=spec, progress=Progress(step=1, total=2, values={})),
            StepSeen(job=two, spec=spec, progress=None),
            StepDone(job=two, spec=spec, seconds=1.0),
            FerryTold(line="the next ferry is due at 06:00Z"),
            StepSeen(job=one, spec=spec, progress=None),
        ):
            view(event)
            drawing.append(threading.active_count() > before)

    assert drawing == [False, True, True, False, False, True]
    assert threading.active_count() == before
