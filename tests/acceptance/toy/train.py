"""Move one number towards the mean of the data, a step at a time, with checkpoints that hold every bit."""

import json
import os
import random
import signal
import sys
import threading
from pathlib import Path

from pilothouse import trainer

STEPS = 30


def number(run: trainer.Run, name: str, default: float) -> float:
    """Return a number of the config."""
    return float(str(run.config.get(name, default)))


def behave(run: trainer.Run, step: int) -> None:
    """Go wrong in the way the config asks for, at the step it asks for."""
    fault = run.config.get("fault")
    if step != run.config.get("fault_step", 5) or run.attempt > number(run, "fault_attempts", 9):
        return
    if fault == "crash" or (fault == "crash afresh" and run.resume is None):
        raise RuntimeError("the toy was told to crash")
    if fault == "nan":
        run.log(step, total=STEPS, loss=float("nan"))
        threading.Event().wait(60)
    if fault == "hang":
        threading.Event().wait(600)
    if fault == "memory":
        raise MemoryError("the toy was told to run out of memory")
    if fault == "disk":
        raise OSError(28, "No space left on device")
    if fault == "vanish":
        sys.stdout.flush()
        os._exit(0)
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait(600)


def wait(run: trainer.Run) -> None:
    """Wait until the file that the config names is there, or until the run is asked to leave."""
    held, look = run.config.get("held_until"), threading.Event()
    while held is not None and not Path(str(held)).exists() and not run.stopping:
        look.wait(0.02)


with trainer.start() as run:
    rows = [row[1] for folder in run.inputs["tokens"] for row in json.loads((folder / "rows.json").read_text())]
    weight, first = 1.0, 0
    if "checkpoint" in run.inputs:
        weight = json.loads((run.inputs["checkpoint"][0] / "weight.json").read_text())
    if run.resume is not None:
        weight = json.loads((run.resume.checkpoint / "weight.json").read_text())
        first = run.resume.step
    pause = threading.Event()

    def save(folder: Path) -> None:
        (folder / "weight.json").write_text(json.dumps(weight))

    for step in range(first + 1, STEPS + 1):
        behave(run, step)
        weight += number(run, "rate", 0.05) * (rows[(7 * step) % len(rows)] - weight)
        run.log(step, total=STEPS, loss=abs(weight - 0.5))
        pause.wait(number(run, "pause", 0.0))
        if step % 5 == 0 or run.stopping:
            run.checkpoint(step, save)
            wait(run)
        if run.stopping:
            run.leave()
    # Noise that differs by seed, where a test wants some.
    weight += number(run, "jitter", 0.0) * random.Random(run.seed).gauss(0, 1)
    metrics = {} if run.config.get("fault") == "promise" else {"train_loss": abs(weight - 0.5)}
    run.finish(metrics, artifacts={"checkpoint": run.checkpoint(STEPS, save)})
