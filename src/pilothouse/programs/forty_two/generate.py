"""The program that makes shards: `python -m pilothouse.programs.forty_two.generate`, under the trainer's contract.

config: `seeds` "200:210" (half-open), `declarations` "by_seed" (seed modulo 10), "all" or a list, `samples_per_deal`,
`scheme` "stratified" or "uniform", `global_seed`, `workers`. The artefact `shards` holds one file per deal, and its
manifest's `content` is a digest over the shards' own digests. Shards that an attempt finished before it was stopped or
killed are verified and kept by the next.
"""

import hashlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse import trainer
from pilothouse.programs.forty_two.deal import SEED_MAX
from pilothouse.programs.forty_two.pool import Stopped, each_done
from pilothouse.programs.forty_two.rules import DECLARATIONS
from pilothouse.programs.forty_two.shards import (
    GENERATOR_VERSION,
    Shard,
    ShardError,
    content_digest,
    read_shard,
    shard_name,
    write_shard,
)

_ROWS_MAX = 1_000_000
_WORKERS_MAX = 256
_MEND = "correct the value in the campaign file or its mode."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """The options as they stand in config.json, apart from `declarations`, which may be a list."""

    seeds: str
    samples_per_deal: int = trainer.bounded(2000, low=1, high=_ROWS_MAX)
    scheme: str = trainer.chosen("stratified", "uniform")
    global_seed: int = trainer.bounded(42, low=0, high=2**63 - 1)
    workers: int = trainer.bounded(2, low=1, high=_WORKERS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One shard to make."""

    seed: int
    declaration: int
    rows: int
    scheme: str
    global_seed: int
    folder: Path

    def __str__(self) -> str:
        return f"shard seed {self.seed} declaration {self.declaration}"

    @property
    def path(self) -> Path:
        """Where the shard will stand."""
        return self.folder / shard_name(self.seed, self.declaration)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMade:
    """What a finished shard holds; `states` is the number of positions it was drawn from, 0 where it was kept."""

    digest: str
    rows: int
    states: int


def main() -> int:
    """Make the shards that the run folder asks for and return the exit code."""
    with trainer.start() as run:
        options, declarations = read_config(run.config)
        work = run.folder / "shards.partial"
        work.mkdir(exist_ok=True)
        tasks = shard_tasks(options, declarations, work)
        try:
            made, seconds = _make_all(run, tasks, workers=options.workers)
        except Stopped:
            run.leave()
        rows = sum(one.rows for one in made)
        states = sum(one.states for one in made)
        meta: dict[str, trainer.JSON] = {"content": combined_digest(made), "shards": len(made), "rows": rows}
        run.artifact("shards", lambda folder: _copy_all(tasks, folder), meta=meta)
        shutil.rmtree(work)
        run.finish(
            {
                "shards": len(made),
                "rows": rows,
                "states": states,
                "seconds": seconds,
                "states_per_second": states / seconds,
            }
        )
    return 0


def read_config(config: Mapping[str, trainer.JSON]) -> tuple[_Plain, list[int] | None]:
    """Return the options and the declarations of every seed, None for one by seed; OptionRefused for bad ones."""
    rest = dict(config)
    declared = _declarations(rest.pop("declarations", "by_seed"))
    return trainer.read_options(_Plain, rest), declared


def _declarations(value: trainer.JSON) -> list[int] | None:
    if value == "by_seed":
        return None
    if value == "all":
        return list(range(DECLARATIONS))
    if isinstance(value, list) and value:
        chosen = [item for item in value if isinstance(item, int) and not isinstance(item, bool)]
        if len(set(chosen)) == len(value) and all(0 <= item < DECLARATIONS for item in chosen):
            return sorted(chosen)
    message = f'declarations = {value!r} is not "by_seed", "all" or a list of different numbers from 0 to 9.'
    raise trainer.OptionRefused(message, fix=_MEND)


def seed_range(text: str) -> range:
    """Return the seeds of "A:B", A included and B not; OptionRefused where that names none."""
    first, _, end = text.partition(":")
    if (
        first.isascii()
        and first.isdigit()
        and end.isascii()
        and end.isdigit()
        and int(first) < int(end) <= SEED_MAX + 1
    ):
        return range(int(first), int(end))
    message = f'seeds = {text!r} is no range "A:B" with 0 <= A < B <= {SEED_MAX + 1}.'
    raise trainer.OptionRefused(message, fix='write for instance "200:210" for the seeds 200 to 209.')


def shard_tasks(options: _Plain, declarations: Sequence[int] | None, folder: Path) -> list[ShardTask]:
    """Return the shards to make, in the order of their digests."""
    return [
        ShardTask(
            seed=seed,
            declaration=declaration,
            rows=options.samples_per_deal,
            scheme=options.scheme,
            global_seed=options.global_seed,
            folder=folder,
        )
        for seed in seed_range(options.seeds)
        for declaration in (declarations if declarations is not None else [seed % DECLARATIONS])
    ]


def make_shard(task: ShardTask) -> tuple[Shard, int]:
    """Make one shard and count the positions it was drawn from; this runs in a worker, where alone the solver is.

    The parent writes the files: a worker without PyArrow needs a quarter less memory.
    """
    from pilothouse.programs.forty_two.sampling import Scheme, sample_shard  # noqa: PLC0415  compiles on import

    return sample_shard(
        seed=task.seed,
        declaration=task.declaration,
        rows=task.rows,
        scheme=Scheme(task.scheme),
        global_seed=task.global_seed,
    )


def combined_digest(made: Sequence[ShardMade]) -> str:
    """Return the SHA-256 (hex) that names the content of several shards in order."""
    lines = "".join(f"{one.digest}\n" for one in made)
    return hashlib.sha256(f"forty-two shards {GENERATOR_VERSION}\n{lines}".encode()).hexdigest()


def _made(shard: Shard, states: int) -> ShardMade:
    return ShardMade(digest=content_digest(shard), rows=len(shard), states=states)


def _kept(task: ShardTask) -> ShardMade | None:
    """Return what an earlier attempt left whole, or None."""
    try:
        return _made(read_shard(task.path), 0)
    except ShardError:
        return None


def _make_all(run: trainer.Run, tasks: Sequence[ShardTask], *, workers: int) -> tuple[list[ShardMade], float]:
    started = time.monotonic()
    made = {task: kept for task in tasks if (kept := _kept(task)) is not None}
    missing = [task for task in tasks if task not in made]
    if made:
        run.log(len(made), total=len(tasks), kept=len(made))
    for task, (shard, states) in each_done(make_shard, missing, workers=workers, stopping=lambda: run.stopping):
        write_shard(task.folder, shard)
        made[task] = one = _made(shard, states)
        run.log(
            len(made),
            total=len(tasks),
            states=one.states,
            rows=one.rows,
            seed=task.seed,
            declaration=task.declaration,
        )
    return [made[task] for task in tasks], time.monotonic() - started


def _copy_all(tasks: Sequence[ShardTask], folder: Path) -> None:
    for task in tasks:
        shutil.copyfile(task.path, folder / task.path.name)


if __name__ == "__main__":
    sys.exit(main())
