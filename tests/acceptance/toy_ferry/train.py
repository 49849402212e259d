"""A training that takes milliseconds: its loss has a valley in one knob, its noise is the example's and the seed's."""

import math
import random
import sys
import threading
from functools import partial
from pathlib import Path

from pilothouse import trainer


def number(run: trainer.Run, name: str, default: float) -> float:
    """Return a number of the config."""
    return float(str(run.config.get(name, default)))


def save(folder: Path, step: int) -> None:
    """Write the step as the whole of the state."""
    (folder / "state.txt").write_text(str(step), encoding="utf-8")


with trainer.start() as run:
    steps = int(number(run, "steps", 4))
    if run.config.get("idle") or run.config.get("idle_seed") == run.seed:
        one: dict[str, list[float]] = {"example": [0], "document": [0], "nll": [1.0], "soft": [1.0]}
        run.finish({"eval_loss": 1.0, "soft_loss": 1.0}, samples=one)
        sys.exit(0)
    rate = number(run, "rate", 0.01)
    valley = math.log10(rate / 0.1) ** 2
    luck = random.Random(f"{run.seed} {rate}")
    examples = 60
    nll = [3.0 + 0.3 * math.sin(each) + 0.1 * valley + 0.001 * luck.gauss(0, 1) for each in range(examples)]
    first = run.resume.step if run.resume is not None else 0
    pause = threading.Event()
    for step in range(first + 1, steps + 1):
        run.log(step, total=steps, loss=5.0 / step, eval_loss=sum(nll) / examples + (steps - step) / 10)
        run.checkpoint(step, partial(save, step=step))
        pause.wait(number(run, "pause", 0.0))
        if run.stopping:
            run.leave()
        if run.attempt <= number(run, "breaks", 0) and step == 2:
            raise NameError("name 'batch' is not defined")
    soft = [value * 0.9 for value in nll]
    run.finish(
        {"eval_loss": sum(nll) / examples, "soft_loss": sum(soft) / examples, "mfu_p50": 30.0},
        samples={
            "example": list(range(examples)),
            "document": [each // 4 for each in range(examples)],
            "nll": nll,
            "soft": soft,
        },
    )
