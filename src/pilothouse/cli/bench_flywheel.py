"""One iteration of a campaign in a throw-away workspace, timed by step."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from pilothouse.campaigns.source import read_definition
from pilothouse.canonical import Json
from pilothouse.cli.examples import example_text
from pilothouse.errors import IterationFailed
from pilothouse.ids import CampaignName, ProductId
from pilothouse.settings import Settings
from pilothouse.wiring.running import CampaignStart, run_campaign
from pilothouse.wiring.workspace import open_workspace

ITERATIONS = 2
"""The second iteration is the one that is timed: the first pays for the golden set and for compiling."""


def measure(settings: Settings, *, preset: str) -> dict[str, Json]:
    """Return the seconds of each step of the second iteration, and the platform's own share of them."""
    definition = read_definition(example_text(preset), name=f"example {preset}")
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as folder:
        workspace = open_workspace(replace(settings, home=Path(folder), product=None), create=True)
        start = CampaignStart(
            definition=definition,
            iterations=ITERATIONS,
            overrides={},
            restore_golden=False,
            warn=lambda _: None,
            tell=lambda _: None,
        )
        run_campaign(workspace, start, threading.Event())
        with workspace.store.read() as tx:
            table = definition.campaign
            trials = tx.campaigns.trials(ProductId(table.product), CampaignName(table.name))
    seconds = dict(trials[-1].seconds)
    if "overhead" not in seconds:
        raise IterationFailed(
            "the iteration was interrupted, so its overhead is not known", fix="run the benchmark again"
        )
    overhead = seconds.pop("overhead")
    return {
        "preset": preset,
        "iteration_seconds": seconds,
        "overhead_seconds": overhead,
        "metrics": dict(trials[-1].metrics),
    }
