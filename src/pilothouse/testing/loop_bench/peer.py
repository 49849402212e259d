"""`autoresearch-rl` beside our loop on one deterministic target: its policies that ask no model, and a grid of values.

It lives in an environment of its own. Its target is a program that prints its metric, its parameters are lists of
values, every proposal is one evaluation of any place in them, and it keeps whatever is lowest. Ours moves the places in
the same lists from their first corner, one or two of them a proposal, measures its baseline first and judges.

Its plain loop ends by itself once a power law that is fitted to all scores so far lies above the lowest at the last of
them, which after five scores is nearly always so, and no key of its file turns that off. Its parallel loop has no such
end: with one run at a time that is how it is given the whole of what ours is given. Both are measured.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from time import perf_counter

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.source import read_definition
from pilothouse.canonical import Json
from pilothouse.errors import NotFound, OperationFailed
from pilothouse.propose.naming import proposer_named
from pilothouse.testing.loop_bench.night import FILE, Night, place_of
from pilothouse.testing.loop_bench.surfaces import Noise, Surface

RATES = [round(1e-4 * 10 ** (place / 10), 8) for place in range(21)]
CLIPS = [round(0.1 + 0.05 * place, 2) for place in range(31)]
BEST_RATE, BEST_CLIP = 2.6e-3, 0.85
POLICIES = ("random", "grid", "learned")
SEEDED = ("random",)
"""Only these draw anew with another seed: the others propose the same every time, so they are run once."""
OURS = ("one-axis", "surrogate", "tpe")
ITERATIONS = 50
SECONDS_MAX = 300
"""A run that takes longer is stopped and counted as far as it came: the learned policy updates its weights by a finite
difference for each of them."""

TARGET = f"""\
import json, os
given = json.loads(os.environ["AR_PARAMS_JSON"])
rate, clip = float(given["learning_rate"]), float(given["grad_clip"])
print(f"val_bpb={{abs(rate - {BEST_RATE}) * 130 + abs(clip - {BEST_CLIP}) * 0.3!r}}")
"""

PARALLEL = {"enabled": True, "max_concurrency": 1, "submit_poll_interval_s": 0.05}
AT_ONCE = 4
"""Its runs wait most of the time: half a second is what it takes to see that one of them is over."""

SCORED = ("keep", "discard")
"""What the ledger says of an iteration that has a metric."""

KNOB = '[knobs.x{index}]\ntype = "int"\ndefault = 0\nmin = 0\nmax = {most}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What a search had chosen after so many proposals and after as many evaluations, and what it spent.

    `distinct` counts the places that it met; `seconds` are a peer's for the whole of its process, None where the search
    was played in memory.
    """

    after_proposals: float
    after_evaluations: float
    evaluations: int
    distinct: int
    seconds: float | None


def height(place: Sequence[float]) -> float:
    """Return the target's metric at a place of both lists."""
    rate, clip = RATES[round(place[0])], CLIPS[round(place[1])]
    return abs(rate - BEST_RATE) * 130 + abs(clip - BEST_CLIP) * 0.3


def least() -> float:
    """Return the lowest value that the lists hold."""
    return min(height(place) for place in itertools.product(range(len(RATES)), range(len(CLIPS))))


def measure_peer(python: Path, *, seeds: int, progress: Callable[[str], None]) -> list[Json]:
    """Return a row for each policy: its regret after so many proposals and evaluations, and what they took."""
    program = python.absolute().parent / "autoresearch-rl"
    if not program.exists():
        raise NotFound(f"{program} is not there", fix="run `make peers`, or name its interpreter with --peer-python")
    runs = [
        (policy, seed, whole)
        for policy, whole in itertools.product(POLICIES, (False, True))
        for seed in range(seeds if policy in SEEDED else 1)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(partial(_peer, program), *zip(*runs, strict=True)))
    rows: list[Json] = []
    for policy, whole in itertools.product(POLICIES, (False, True)):
        named = f"autoresearch-rl, {policy}, {'parallel of 1' if whole else 'plain'}"
        found = [end for end, run in zip(ends, runs, strict=True) if (run[0], run[2]) == (policy, whole)]
        rows.append(_row(named, found, progress))
    rows += [_row(f"pilothouse, {name}", [ours(name, seed) for seed in range(seeds)], progress) for name in OURS]
    return rows


def _row(system: str, ends: Sequence[End], progress: Callable[[str], None]) -> Json:
    progress(system)
    lowest = least()
    timed = [end.seconds / end.evaluations for end in ends if end.seconds is not None]
    return {
        "system": system,
        "seeds": len(ends),
        f"regret_after_{ITERATIONS}_proposals": fmean(end.after_proposals for end in ends) - lowest,
        "worst": max(end.after_proposals for end in ends) - lowest,
        f"regret_after_{ITERATIONS}_evaluations": fmean(end.after_evaluations for end in ends) - lowest,
        "evaluations": fmean(end.evaluations for end in ends),
        "distinct": fmean(end.distinct for end in ends),
        "seconds_an_evaluation": fmean(timed) if timed else None,
    }


def ours(name: str, seed: int, *, proposals: int = ITERATIONS) -> End:
    """Return the end of one search of ours, by the proposer of this name, played in memory."""
    knobs = [KNOB.format(index=index, most=len(each) - 1) for index, each in enumerate((RATES, CLIPS), start=1)]
    definition = read_definition(FILE.format(seed=seed * 1_000_000) + "\n".join(knobs), name="night.toml")
    assert isinstance(definition, AutopilotDefinition)
    surface = Surface(name="peer", dims=2, height=height, noise=Noise.NONE)
    night = Night(definition=definition, surface=surface, proposer=proposer_named(name))
    trace = night.run(proposals=proposals, evaluations=0)
    return End(
        after_proposals=trace.after_proposals(proposals),
        after_evaluations=trace.after_evaluations(ITERATIONS),
        evaluations=len(night.jobs),
        distinct=len({tuple(place_of(step.spec.config)) for step in night.steps.values()}),
        seconds=None,
    )


def _peer(program: Path, policy: str, seed: int, whole: bool) -> End:  # noqa: FBT001  a pool maps by place
    with tempfile.TemporaryDirectory(prefix="pilothouse-peer-") as name:
        folder = Path(name)
        (folder / "train.py").write_text(TARGET, encoding="utf-8")
        (folder / "config.yaml").write_text(json.dumps(_config(program, policy, seed, whole=whole)), encoding="utf-8")
        began = perf_counter()
        finished = _run(program, folder)
        seconds = perf_counter() - began
        return ended(folder, seconds, whole=whole and finished)


def _run(program: Path, folder: Path) -> bool:
    """Run the peer in this folder; return whether it ended in its time. OperationFailed where it ends with an error."""
    try:
        done = subprocess.run(  # noqa: S603  the peer that the caller named
            [str(program), "run", "config.yaml"],
            cwd=folder,
            # It asks git for the commit.
            env={"PATH": f"{program.parent}{os.pathsep}{os.defpath}", "HOME": str(folder), "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing on standard error"]
        raise OperationFailed(
            f"autoresearch-rl ended with {done.returncode}: {said[-1]}", fix="run its policy by hand to see why"
        )
    return True


def ended(folder: Path, seconds: float, *, whole: bool) -> End:
    """Return what a peer's folder tells of its run.

    Raises OperationFailed where an iteration has no metric, or one is missing of a run that is to be `whole`.
    """
    ledger = folder / "results.tsv"
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    rows = list(csv.DictReader(lines, delimiter="\t"))
    scored = [row for row in rows if row["status"] in SCORED]
    wanted = ITERATIONS if whole else max(1, len(rows))
    if len(scored) != wanted:
        raise OperationFailed(
            f"autoresearch-rl scored {len(scored)} of {wanted} iterations", fix="run its policy by hand to see why"
        )
    # Its ledger has six places, so that its best may read lower than any place in the lists is.
    kept = [max(least(), float(row["metric_value"])) for row in scored if row["status"] == "keep"]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    places = {json.dumps(event["params"], sort_keys=True) for event in events if event["type"] == "proposal"}
    return End(
        after_proposals=kept[-1],
        after_evaluations=kept[-1],
        evaluations=len(scored),
        distinct=len(places),
        seconds=seconds,
    )


def _config(program: Path, policy: str, seed: int, *, whole: bool) -> Json:
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
        "controller": {"max_iterations": ITERATIONS, **({"parallel": PARALLEL} if whole else {})},
        "comparability": {"budget_mode": "fixed_wallclock", "expected_budget_s": 300, "strict": False},
        "telemetry": {
            "trace_path": "events.jsonl",
            "ledger_path": "results.tsv",
            "artifacts_dir": "runs",
            "versions_dir": "versions",
        },
    }
