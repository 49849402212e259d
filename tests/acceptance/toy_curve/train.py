"""Fall towards a value that the knob decides; the further from 0.3, the worse, and the slower."""

import random
import threading

from pilothouse import trainer

STEPS = 20

with trainer.start() as run:
    rate = float(str(run.config["rate"]))
    noise = random.Random(run.seed)
    final = 0.5 + 5 * abs(rate - 0.3) + 0.02 * noise.gauss(0, 1)
    pause = threading.Event()
    for step in range(1, STEPS + 1):
        run.log(step, total=STEPS, loss=final + 1 - step / STEPS + 0.01 * noise.gauss(0, 1))
        pause.wait(0.0 if rate == 0.3 else 0.5)
    run.finish({"loss": final})
