"""`autoresearch-rl` beside our loop on one deterministic target: its policies that ask no model, and a grid of values.

It lives in an environment of its own. Its target is a program that prints its metric, its parameters are lists of
values, and it keeps whatever is lowest. Ours moves the places in the same lists, from the worst corner, and judges.
"""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from time import perf_counter

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.source import read_definition
from pilothouse.canonical import Json
from pilothouse.errors import NotFound, OperationFailed
from pilothouse.propose.naming import proposer_named
from pilothouse.testing.loop_bench.night import FILE, Night
from pilothouse.testing.loop_bench.surfaces import Noise, Surface

RATES = [round(1e-4 * 10 ** (place / 10), 8) for place in range(21)]
CLIPS = [round(0.1 + 0.05 * place, 2) for place in range(31)]
BEST_RATE, BEST_CLIP = 2.6e-3, 0.85
POLICIES = ("random", "grid", "learned")
OURS = ("one-axis", "surrogate", "tpe")
ITERATIONS = 50
SECONDS_MAX = 600

TARGET = f"""\
import json, os
given = json.loads(os.environ["AR_PARAMS_JSON"])
rate, clip = float(given["learning_rate"]), float(given["grad_clip"])
print(f"val_bpb={{abs(rate - {BEST_RATE}) * 130 + abs(clip - {BEST_CLIP}) * 0.3!r}}")
"""

KNOB = '[knobs.x{index}]\ntype = "int"\ndefault = 0\nmin = 0\nmax = {most}\n'


def height(place: Sequence[float]) -> float:
    """Return the target's metric at a place of both lists."""
    rate, clip = RATES[round(place[0])], CLIPS[round(place[1])]
    return abs(rate - BEST_RATE) * 130 + abs(clip - BEST_CLIP) * 0.3


def least() -> float:
    """Return the lowest value that the lists hold."""
    return min(height(place) for place in itertools.product(range(len(RATES)), range(len(CLIPS))))


def measure_peer(python: Path, *, seeds: int, progress: Callable[[str], None]) -> list[Json]:
    """Return a row for each policy: its mean regret after so many proposals, and what they took."""
    program = python.parent / "autoresearch-rl"
    if not program.exists():
        raise NotFound(f"{program} is not there", fix="install autoresearch-rl into that environment")
    rows = [
        _row(f"autoresearch-rl, {policy}", [_peer(program, policy, seed) for seed in range(seeds)], progress)
        for policy in POLICIES
    ]
    rows += [_row(f"pilothouse, {name}", [_ours(name, seed) for seed in range(seeds)], progress) for name in OURS]
    return rows


def _row(system: str, ends: Sequence[tuple[float, int, float]], progress: Callable[[str], None]) -> Json:
    progress(system)
    lowest = least()
    return {
        "system": system,
        "seeds": len(ends),
        "regret_mean": fmean(end[0] - lowest for end in ends),
        "regret_worst": max(end[0] for end in ends) - lowest,
        "evaluations": fmean(end[1] for end in ends),
        "seconds": fmean(end[2] for end in ends),
    }


def _ours(name: str, seed: int) -> tuple[float, int, float]:
    knobs = [KNOB.format(index=index, most=len(each) - 1) for index, each in enumerate((RATES, CLIPS), start=1)]
    definition = read_definition(FILE.format(seed=seed * 1_000_000) + "\n".join(knobs), name="night.toml")
    assert isinstance(definition, AutopilotDefinition)
    surface = Surface(name="peer", dims=2, height=height, noise=Noise.NONE)
    began = perf_counter()
    trace = Night(definition=definition, surface=surface, proposer=proposer_named(name)).run(
        proposals=ITERATIONS, evaluations=0
    )
    return trace.after_proposals(ITERATIONS), trace.stands[-1].evaluations, perf_counter() - began


def _peer(program: Path, policy: str, seed: int) -> tuple[float, int, float]:
    with tempfile.TemporaryDirectory(prefix="pilothouse-peer-") as name:
        folder = Path(name)
        (folder / "train.py").write_text(TARGET, encoding="utf-8")
        (folder / "config.yaml").write_text(json.dumps(_config(program, policy, seed)), encoding="utf-8")
        began = perf_counter()
        done = subprocess.run(  # noqa: S603  the peer that the caller named
            [str(program), "run", "config.yaml"],
            cwd=folder,
            env={"PATH": str(program.parent), "HOME": name},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        seconds = perf_counter() - began
        if done.returncode != 0:
            raise OperationFailed(f"autoresearch-rl ended with {done.returncode}", fix=done.stderr[-400:])
        with (folder / "results.tsv").open(encoding="utf-8") as lines:
            found = [float(row["metric_value"]) for row in csv.DictReader(lines, delimiter="\t")]
    return min(found), len(found), seconds


def _config(program: Path, policy: str, seed: int) -> Json:
    return {
        "name": "peer",
        "objective": {"metric": "val_bpb", "direction": "min"},
        "target": {
            "type": "command",
            "workdir": ".",
            "timeout_s": 30,
            "train_cmd": [str(program.parent / "python"), "-I", "-S", "train.py"],
        },
        "policy": {"type": policy, "seed": seed, "params": {"learning_rate": RATES, "grad_clip": CLIPS}},
        "controller": {"max_iterations": ITERATIONS},
        "comparability": {"budget_mode": "fixed_wallclock", "expected_budget_s": 300, "strict": False},
        "telemetry": {
            "trace_path": "events.jsonl",
            "ledger_path": "results.tsv",
            "artifacts_dir": "runs",
            "versions_dir": "versions",
        },
    }
