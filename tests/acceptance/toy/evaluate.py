"""Score the number against each golden number: the regret is the distance."""

import json

from pilothouse import trainer

with trainer.start() as run:
    rows = [row for folder in run.inputs["golden"] for row in json.loads((folder / "rows.json").read_text())]
    weight = 1.0
    if "checkpoint" in run.inputs:
        weight = json.loads((run.inputs["checkpoint"][0] / "weight.json").read_text())
    regrets = [abs(weight - number) for _, number in rows]
    samples = {"example": list(range(len(rows))), "deal": [seed for seed, _ in rows], "regret": regrets}
    run.log(1, total=1)
    run.finish({"gap": sum(regrets) / len(regrets)}, samples=samples)
