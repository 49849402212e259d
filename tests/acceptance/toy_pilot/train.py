"""Measure a valley in one knob, with noise that only the seed and the config decide."""

import math
import random
import threading

from pilothouse import trainer


def number(run: trainer.Run, name: str, default: float) -> float:
    """Return a number of the config."""
    return float(str(run.config.get(name, default)))


with trainer.start() as run:
    rate = number(run, "rate", 0.1)
    if rate > number(run, "breaks_above", 2.0):
        raise MemoryError("the toy was told to run out of memory")
    luck = random.Random(f"{run.seed} {rate}")
    run.log(1, total=2, loss=1.0)
    pause = threading.Event()
    for _ in range(20):
        pause.wait(number(run, "pause", 0.0) / 20)
        if run.stopping:
            run.leave()
    run.finish({"val_loss": 1 + math.log10(rate / 0.01) ** 2 + 0.05 * luck.gauss(0, 1), "speed": 9 + luck.random()})
