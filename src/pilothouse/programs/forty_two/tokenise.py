"""The program that turns shards into a token set: `python -m pilothouse.programs.forty_two.tokenise`.

It reads the run folder's input `shards` (sealed folders of shards) and makes the artefact `tokens`. Every shard is
compared with its digest before a single row is written: one that is damaged fails the run by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pilothouse import trainer
from pilothouse.programs.forty_two.rules import ILLEGAL
from pilothouse.programs.forty_two.shards import Shard, read_shard
from pilothouse.programs.forty_two.token_files import write_tokens
from pilothouse.programs.forty_two.tokens import TokenRows, tokenise
from pilothouse.trainer import JSON, RunFolderBroken, tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenising:
    """The options of a run."""

    chunk_rows: int = trainer.bounded(50_000, low=1, high=10_000_000)


def tokenise_run(run: trainer.Run) -> None:
    """Do the whole of a run."""
    options = trainer.read_options(Tokenising, run.config)
    paths = shard_paths(run.inputs.get("shards", []))
    rows = sum(_playable_rows(read_shard(path)) for path in paths)
    if rows == 0:
        raise RunFolderBroken("The shards hold no position with a move.", fix="generate shards with more rows.")
    meta: dict[str, JSON] = {}

    def save(folder: Path) -> None:
        blocks = _blocks(run, paths, options.chunk_rows)
        meta.update(write_tokens(folder, blocks, rows, lambda done: run.log(done, total=rows)))

    run.artifact("tokens", save, meta=meta)
    run.finish({"rows": rows, "shards": len(paths)})


def shard_paths(folders: list[Path]) -> list[Path]:
    """List the shards of sealed folders, by folder and name; raises TreeDamaged for a folder that has changed."""
    paths = []
    for folder in folders:
        tree.verify(folder)
        paths += sorted(folder.rglob("seed_*_decl_*.parquet"), key=lambda path: path.name)
    if not paths:
        raise RunFolderBroken("The input `shards` names no shard.", fix="give folders that `generate` has made.")
    return paths


def _playable_rows(shard: Shard) -> int:
    return int(np.count_nonzero(np.any(shard.q != ILLEGAL, axis=1)))


def _blocks(run: trainer.Run, paths: list[Path], chunk_rows: int) -> Iterator[TokenRows]:
    for path in paths:
        shard = read_shard(path)
        for first in range(0, len(shard), chunk_rows):
            if run.stopping:
                run.leave()
            part = slice(first, first + chunk_rows)
            yield tokenise(
                Shard(
                    seed=shard.seed,
                    declaration=shard.declaration,
                    state=shard.state[part],
                    v=shard.v[part],
                    q=shard.q[part],
                    scheme=shard.scheme,
                )
            )


def main() -> None:
    """Tokenise the shards of the run folder."""
    with trainer.start() as run:
        tokenise_run(run)


if __name__ == "__main__":
    main()
