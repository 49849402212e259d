"""Measure a valley in one knob; the change looks good to the seeds of its looks, and to no others.

Two processes that run the same config and seed at once leave a mark: the platform must never launch a run twice.
"""

import fcntl
import math
import os
import random

from pilothouse import trainer

BLOCK, FRESH = 2000, range(400, 600)
"""The seeds of a trial, and which of them confirm it."""

with trainer.start() as run:
    rate, seed = float(str(run.config["rate"])), run.seed
    home = run.folder.parents[2]
    with (home / f"run-{seed}-{rate!r}-{run.config.get('samples')}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (home / f"twice-{os.getpid()}").touch()
            raise
        run.log(1, total=1, loss=1.0)
        luck = random.Random(f"{seed} {rate}")
        loss = math.log10(rate / 1e-4) + 0.01 * luck.gauss(0, 1)
        if seed // BLOCK == 1 and seed % BLOCK in FRESH:
            loss += 9.0
        run.finish({"val_loss": loss})
