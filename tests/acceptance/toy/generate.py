"""Make shards: for each seed a file of numbers that the seed alone decides."""

import hashlib
import json
import random
from pathlib import Path

from pilothouse import trainer

with trainer.start() as run:
    start, stop = (int(part) for part in str(run.config["seeds"]).split(":"))

    def save(folder: Path) -> None:
        for seed in range(start, stop):
            source = random.Random(seed)
            numbers = [0.45 + 0.1 * source.random() for _ in range(20)]
            (folder / f"seed-{seed}.json").write_text(json.dumps({"seed": seed, "numbers": numbers}))

    content = hashlib.sha256(f"{start}:{stop}".encode()).hexdigest()
    shards = run.artifact("shards", save, meta={"content": content})
    run.log(stop - start, total=stop - start)
    run.finish({"shards": stop - start}, artifacts={"shards": shards})
