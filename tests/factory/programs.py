"""Beginnings of the programs that the tests of the factory run, and what they all ask of a report."""

from __future__ import annotations

from pilothouse.fleet.job import Report

PLAIN = """
import json, os, signal, sys, threading, time
from pathlib import Path
run = Path(os.environ["PILOTHOUSE_RUN_DIR"])
order = json.loads((run / "run.json").read_text())
def log(step, **values):
    with (run / "metrics.jsonl").open("a") as out:
        out.write(json.dumps({"step": step, "total": 400, "time": time.time(), **values}) + "\\n")
def mark(name):
    (run / name).write_text(f"{os.getpid()}\\n")
def rest():
    while True:
        signal.pause()
def finish(metrics=None, artifacts=None):
    (run / "summary.json").write_text(json.dumps({"metrics": metrics or {}, "artifacts": artifacts or {}}))
"""

KIT = """
import sys
from pathlib import Path
from pilothouse import trainer
def save(folder):
    (folder / "weights").write_text("w")
with trainer.start() as run:
    def mark(name):
        (run.folder / name).write_text(f"{__import__('os').getpid()}\\n")
"""


def reported(report: Report | None) -> Report:
    """Return the report, which the attempt must have made."""
    assert report is not None, "the attempt was not reported"
    return report
