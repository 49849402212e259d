"""Faults that are injected into real programs under the factory's watch: how they are named, how soon, what is left.

A fault's program writes a mark right before it goes wrong, with the clock that all processes of a machine share. The
delay is from that mark to the report of the attempt's end, so it holds the grace and the killing of the whole tree.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from pilothouse.canonical import Json
from pilothouse.fleet.job import JobSpec, Outcome, Report
from pilothouse.launch.environment import RUN_DIR
from pilothouse.testing.factory_bench import SPEC, Bench

SILENT_SECONDS = 1.5
"""The `silent_after` of the programs that fall silent; it is part of their delay."""

GRACE_SECONDS = 1.0

PROGRAM = """
import json, os, signal, sys, threading, time
from pathlib import Path
run = Path(os.environ["PILOTHOUSE_RUN_DIR"])
def log(step, **values):
    with (run / "metrics.jsonl").open("a") as out:
        out.write(json.dumps({"step": step, "total": 400, **values}) + "\\n")
def now():
    (run / "wrong.tmp").write_text(repr(time.monotonic()))
    os.replace(run / "wrong.tmp", run / "wrong")
def finish(**metrics):
    (run / "summary.json").write_text(json.dumps({"metrics": metrics, "artifacts": {}}))
def rest():
    threading.Event().wait(600)
def apart():
    # A child in a session of its own whose parent is gone: only its environment still tells whose it is.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            rest()
        os._exit(0)
    os.wait()
log(1, loss=2.5)
"""

BOMB = """
apart()
leader = os.getpid()
for generation in range(5):
    os.fork()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.getpid() == leader:
    END
rest()
"""
"""Thirty-three processes that do not listen, one of them in a session of its own."""

MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
now()
held = bytearray(8 << 30)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A program that goes wrong, and the class that its end must get; `named` stands in the detail.

    `silent_seconds` is its `silent_after`, and so many `earlier` attempts have left a whole summary.
    """

    text: str
    outcome: Outcome
    named: str = ""
    silent_seconds: float = 60.0
    earlier: int = 0


FAULTS: Mapping[str, Fault] = {
    "NaN": Fault(
        text="apart()\nnow()\nlog(2, loss='NaN')\nrest()", outcome=Outcome.NOT_A_NUMBER, named="loss at step 2"
    ),
    "divergence": Fault(
        text="apart()\nfor step in range(2, 9):\n    log(step, loss=10.0 ** (3 * step))\nnow()\nrest()",
        outcome=Outcome.NOT_A_NUMBER,
        named="diverged: loss",
    ),
    "out of memory": Fault(text=MEMORY, outcome=Outcome.OUT_OF_MEMORY, named="MemoryError"),
    "hang": Fault(
        text="apart()\nnow()\nrest()", outcome=Outcome.SILENT, named="no sign of life", silent_seconds=SILENT_SECONDS
    ),
    "hang, deaf to SIGTERM": Fault(
        text="apart()\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nnow()\nrest()",
        outcome=Outcome.SILENT,
        silent_seconds=SILENT_SECONDS,
    ),
    "silent death": Fault(
        text="apart()\nnow()\nos.kill(os.getpid(), signal.SIGKILL)", outcome=Outcome.CRASHED, named="SIGKILL"
    ),
    "parent gone": Fault(
        text="apart()\nif os.fork() == 0:\n    os.setsid()\n    rest()\nnow()\nos._exit(0)",
        outcome=Outcome.SUMMARY_MISSING,
    ),
    "fork bomb within limits": Fault(
        text=BOMB.replace("END", "now()"), outcome=Outcome.SILENT, silent_seconds=SILENT_SECONDS
    ),
    "fork bomb that crashes": Fault(
        text=BOMB.replace("END", "now()\n    sys.exit(3)"),
        outcome=Outcome.CRASHED,
        named="exit code 3",
    ),
    "exit 0, no summary": Fault(text="now()", outcome=Outcome.SUMMARY_MISSING, named="no summary"),
    "exit 0, no metrics": Fault(text="finish()\nnow()", outcome=Outcome.PROMISE_BROKEN, named="loss is missing"),
    "summary, exit 1": Fault(text="finish(loss=0.1)\nnow()\nsys.exit(1)", outcome=Outcome.CRASHED, named="exit code 1"),
    "summary, killed": Fault(
        text="finish(loss=0.1)\nnow()\nos.kill(os.getpid(), signal.SIGKILL)", outcome=Outcome.CRASHED, named="SIGKILL"
    ),
    "summary, then silence": Fault(
        text="apart()\nfinish(loss=0.1)\nnow()\nrest()", outcome=Outcome.SILENT, silent_seconds=SILENT_SECONDS
    ),
    "NaN in the summary": Fault(
        text="finish(loss=float('nan'))\nnow()", outcome=Outcome.PROMISE_BROKEN, named="loss is nan"
    ),
    "summary against its metrics": Fault(
        text="log(2, loss=2.4)\nlog(3, loss=2.3)\nfinish(loss=0.0)\nnow()",
        outcome=Outcome.PROMISE_BROKEN,
        named="the final metric loss is 0, and it was from 2.3 to 2.5 in 3 reports",
    ),
    "summary of an earlier attempt": Fault(
        text="now()", outcome=Outcome.SUMMARY_MISSING, named="no summary", earlier=1
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a fault: the report, the seconds from the fault to it, and the processes that were left."""

    report: Report
    seconds: float
    left: tuple[int, ...] = field(default=())


def inject(fault: Fault, bench: Bench) -> Seen:
    """Return what the factory makes of this fault."""
    spec: JobSpec = replace(
        SPEC,
        metrics=("loss",),
        artifacts=(),
        silent_after_seconds=fault.silent_seconds,
        grace_seconds=GRACE_SECONDS,
    )
    for number in range(1, fault.earlier + 1):
        folder = bench.folder(number)
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text('{"metrics": {"loss": 0.1}}', encoding="utf-8")
    epoch = fault.earlier + 1
    offer = bench.offer_for(PROGRAM + fault.text, spec=spec, epoch=epoch, earlier=range(1, epoch))
    report = bench.run(offer)
    ended_at = time.monotonic()
    assert report is not None, "the attempt was not reported"
    wrong_at = float((bench.folder(epoch) / "wrong").read_text(encoding="utf-8"))
    return Seen(report=report, seconds=ended_at - wrong_at, left=tuple(left_of(bench.folder(epoch))))


def left_of(folder: Path) -> Iterator[int]:
    """Yield every process of the machine that was started for this run folder, whoever its parent is now."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(RUN_DIR) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid


def measure_faults(progress: Callable[[str], None]) -> list[Json]:
    """Return a row for each fault: its class, whether it is the right one, the delay and what was left."""
    rows: list[Json] = []
    for name, fault in FAULTS.items():
        with tempfile.TemporaryDirectory(prefix="pilothouse-fault-") as home:
            seen = inject(fault, Bench(Path(home)))
        rows.append(
            {
                "fault": name,
                "class": seen.report.outcome.value,
                "right": seen.report.outcome is fault.outcome,
                "delay_seconds": seen.seconds,
                "of_which_silence": fault.silent_seconds if fault.outcome is Outcome.SILENT else 0.0,
                "processes_left": len(seen.left),
            }
        )
        progress(f"{name}: {seen.report.outcome.value} after {seen.seconds:.2f} s")
    return rows
