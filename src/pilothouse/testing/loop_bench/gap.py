"""The pause between two runs of a real campaign: from the end of one to the start of the next, by its stored times."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.source import read_definition
from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.ports.store import Store

PROPOSALS = 8
RUNS_MOST = 10_000

TRAINER = """\
import json, os, random
from pathlib import Path
run = Path(os.environ["PILOTHOUSE_RUN_DIR"])
order, config = (json.loads((run / name).read_text()) for name in ("run.json", "config.json"))
luck = random.Random(f"{order['seed']} {config['rate']}")
(run / "metrics.jsonl").write_text('{"step": 1, "total": 1, "progress": 1.0}\\n')
loss = (config["rate"] - 0.3) ** 2 + 0.01 * luck.gauss(0, 1)
(run / "summary.json").write_text(json.dumps({"metrics": {"loss": loss}, "artifacts": {}}))
"""

FILE = """\
[campaign]
name = "gap"
kind = "autopilot"
product = "bench"

[trainer]
command = ["python", "-I", "-S", {trainer}]
timeout = "60s"

[knobs.rate]
type = "float"
default = 0.9
min = 0.0
max = 1.0

[metrics.loss]
direction = "min"
primary = true

[gate]
approval = "waived"
waived_by = "the benchmark"
reason = "nothing is at stake"

[decision]
calibration = 4
confirmation = 3

[autopilot]
proposer = "surrogate"

[autopilot.stop]
proposals = {proposals}
"""


def gap_definition(folder: Path, *, proposals: int = PROPOSALS) -> Definition:
    """Return a campaign whose trainer, written into this folder, ends within a twentieth of a second."""
    trainer = folder / "train.py"
    trainer.write_text(TRAINER, encoding="utf-8")
    return read_definition(FILE.format(trainer=f'"{trainer.as_posix()}"', proposals=proposals), name="gap.toml")


def gaps_of(store: Store) -> dict[str, Json]:
    """Return the pauses on the one seat, over all, and apart where the loop judged and proposed in between."""
    with store.read() as tx:
        jobs = tx.jobs.listed(ProductId("bench"), limit=RUNS_MOST)
        trials = {job.id: tx.jobs.spec(job.id).trial for job in jobs}
        attempts = [(attempt, trials[job.id]) for job in jobs for attempt in tx.jobs.attempts(job.id)]
    ran = sorted(
        (attempt.started_at, attempt.ended_at, trial)
        for attempt, trial in attempts
        if attempt.started_at is not None and attempt.ended_at is not None
    )
    pairs = [(_seconds(left[1], right[0]), left[2] != right[2]) for left, right in itertools.pairwise(ran)]
    between = [gap for gap, proposed in pairs if proposed]
    return {
        "runs": len(ran),
        "run_seconds_p50": _quantile([_seconds(start, end) for start, end, _ in ran], 0.5),
        "all": _spread([gap for gap, _ in pairs]),
        "between_proposals": _spread(between) if between else None,
    }


def _seconds(left: datetime, right: datetime) -> float:
    return (right - left).total_seconds()


def _spread(gaps: Sequence[float]) -> Json:
    return {"p50": _quantile(gaps, 0.5), "p95": _quantile(gaps, 0.95), "max": max(gaps), "count": len(gaps)}


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
