"""A small documented campaign and its trainer, for who has no script yet."""

from __future__ import annotations

CAMPAIGN = """\
# A campaign to start from: change the trainer beside it into your own, then the knobs and the metric.
#     pilothouse campaign check {file}
#     pilothouse campaign run {file} --iterations 3
[campaign]
name = "{name}"
kind = "autopilot"         # propose, run over seeds beside the baseline, judge, go on
goal = "A straight line through noisy points"

[trainer]
command = ["python", "{script}", "--seed", "{{seed}}", "--output-dir", "{{run_dir}}"]
timeout = "2m"             # how long one run may take

[trainer.arguments]        # every value below is an option of the command
names = "dashes"           # batch_size is told as --batch-size

[trainer.config]           # told to every run, moved by nobody
steps = 300

[knobs.learning_rate]      # what a proposal may move, and how far
type = "float"
default = 0.003
min = 1e-4
max = 1.0
scale = "log"
max_step = 5.0             # at most a factor of 5 from the baseline
bucket = "optimizer"

[knobs.batch_size]
type = "int"
default = 8
min = 1
max = 64
scale = "log"
max_step = 2
bucket = "optimizer"

[change_budget]
min = 1
max = 1                    # one knob at a time, so that a gain has a name

[metrics.val_loss]         # a number in the script's summary.json, held out from training
direction = "min"
primary = true
smallest_effect_of_interest = 0.002

[gate]                     # approval = "required" instead, and a person says yes to each proposal
approval = "waived"
waived_by = "whoever starts it"
reason = "a run of a second on this machine's own processor"

[monitor]
silent_after = "1m"

[autopilot]
proposer = "one-axis"

[autopilot.stop]
without_improvement = 10

[budget]
hours = 1
"""
TRAINER = '''\
"""Fit a straight line to noisy points by gradient descent: an ordinary script, standard library only.

All that a campaign asks of it: the seed decides everything that varies, and summary.json is written last.
"""

import argparse
import json
import random
from pathlib import Path

POINTS = 64
NOISE = 0.3


def points(draw, count):
    """Return pairs (x, y) along y = 2x - 1."""
    xs = [draw.uniform(-1, 1) for _ in range(count)]
    return [(x, 2 * x - 1 + draw.gauss(0, NOISE)) for x in xs]


def loss(weights, pairs):
    """Return the mean squared error."""
    slope, offset = weights
    return sum((slope * x + offset - y) ** 2 for x, y in pairs) / len(pairs)


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--learning-rate", type=float, default=0.003, help="how far each step goes")
    parser.add_argument("--batch-size", type=int, default=8, help="points per step")
    parser.add_argument("--steps", type=int, default=300, help="steps of training")
    parser.add_argument("--seed", type=int, default=0, help="decides everything that varies")
    parser.add_argument("--output-dir", type=Path, default=Path("."), help="where summary.json goes")
    args = parser.parse_args()

    draw = random.Random(args.seed)
    train, held_out = points(draw, POINTS), points(draw, POINTS)
    slope, offset = draw.gauss(0, 1), draw.gauss(0, 1)
    for step in range(1, args.steps + 1):
        batch = draw.sample(train, min(args.batch_size, POINTS))
        errors = [(slope * x + offset - y, x) for x, y in batch]
        slope -= args.learning_rate * 2 * sum(error * x for error, x in errors) / len(batch)
        offset -= args.learning_rate * 2 * sum(error for error, _ in errors) / len(batch)
        if step % 100 == 0:
            print(f"step {step}: val_loss {loss((slope, offset), held_out):.4f}", flush=True)

    summary = {"val_loss": loss((slope, offset), held_out), "slope": slope, "offset": offset}
    (args.output_dir / "summary.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    main()
'''


def starter(*, file: str, script: str, name: str) -> tuple[str, str]:
    """Return the texts of the campaign file and of its trainer."""
    return CAMPAIGN.format(file=file, script=script, name=name), TRAINER
