"""From shards to a token set."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pilothouse import trainer
from pilothouse.programs.forty_two import tokens
from pilothouse.programs.forty_two.shards import ShardDamagedError, content_digest, read_shard, shard_name, write_shard
from pilothouse.programs.forty_two.token_files import read_tokens
from pilothouse.programs.forty_two.tokenise import tokenise_run
from pilothouse.trainer import TreeDamaged, tree

RunFolder = Callable[..., Path]


def _tokenise(folder: Path) -> Path:
    with trainer.start(folder=folder) as run:
        tokenise_run(run)
    return folder / "artifacts" / "tokens"


def test_the_set_holds_every_shard_in_order(token_folder: Path, shard_folder: Path) -> None:
    """Rows are those of the shards, by name; the meta has their digest and number."""
    rows = read_tokens([token_folder])

    shards = [read_shard(shard_folder / shard_name(seed, 0)) for seed in (0, 930)]
    expected = tokens.concatenate([tokens.tokenise(shard) for shard in shards])
    for name, column in expected.columns():
        np.testing.assert_array_equal(getattr(rows, name), column)
    meta = tree.verify(token_folder).meta
    assert meta == {"content": tokens.content_digest(expected), "rows": len(expected), "format": 1}


def test_chunks_do_not_show(run_folder: RunFolder, shard_folder: Path, token_folder: Path) -> None:
    """The same bytes, whatever the block size; progress has a true total."""
    folder = run_folder("chunks", {"chunk_rows": 37}, inputs={"shards": [shard_folder]})

    assert tree.read_manifest(_tokenise(folder)).digest == tree.read_manifest(token_folder).digest
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    assert {line["total"] for line in lines} == {lines[-1]["step"]}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["metrics"] == {"rows": lines[-1]["total"], "shards": 2}


def test_sets_join_in_the_given_order(token_folder: Path) -> None:
    """Two sets are read one after the other."""
    once, twice = read_tokens([token_folder]), read_tokens([token_folder, token_folder])

    assert len(twice) == 2 * len(once)
    np.testing.assert_array_equal(twice.tokens[len(once) :], once.tokens)


def test_a_damaged_shard_is_named_and_nothing_is_made(
    run_folder: RunFolder, shard_folder: Path, tmp_path: Path
) -> None:
    """Values that do not match the shard's own digest are never tokenised, even in a folder sealed anew."""
    copy = tmp_path / "copy"
    shutil.copytree(shard_folder, copy)
    shard = read_shard(copy / shard_name(930, 0))
    changed = replace(shard, v=shard.v + np.int8(1))
    # The changed column under the old digest, which stands in the footer as text.
    path = write_shard(copy, changed)
    path.write_bytes(path.read_bytes().replace(content_digest(changed).encode(), content_digest(shard).encode()))
    tree.seal(copy)
    folder = run_folder("damaged", {}, inputs={"shards": [copy]})

    with pytest.raises(ShardDamagedError, match="seed_00000930_decl_0"):
        _tokenise(folder)
    assert not (folder / "artifacts" / "tokens").exists()
    assert not (folder / "summary.json").exists()


def test_a_folder_that_changed_since_it_was_sealed_is_named(
    run_folder: RunFolder, shard_folder: Path, tmp_path: Path
) -> None:
    """A byte that differs from the manifest fails the run before any shard is read."""
    copy = tmp_path / "copy"
    shutil.copytree(shard_folder, copy)
    path = copy / shard_name(0, 0)
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(TreeDamaged, match="seed_00000000_decl_0"):
        _tokenise(run_folder("changed", {}, inputs={"shards": [copy]}))


def test_no_shards_is_a_clear_error(run_folder: RunFolder, tmp_path: Path) -> None:
    """Neither a missing input nor an empty folder passes for a token set."""
    with pytest.raises(trainer.RunFolderBroken, match="names no shard"):
        _tokenise(run_folder("none", {}))
    (tmp_path / "empty").mkdir()
    tree.seal(tmp_path / "empty")
    with pytest.raises(trainer.RunFolderBroken, match="names no shard"):
        _tokenise(run_folder("none", {}, inputs={"shards": [tmp_path / "empty"]}))


@pytest.mark.parametrize(
    ("column", "named"),
    [(np.zeros(3, dtype=np.int8), "values.npy holds int8\\[3\\]"), (np.zeros(0, dtype=np.int64), "values.npy holds")],
)
def test_columns_of_another_shape_are_refused(
    token_folder: Path, tmp_path: Path, column: NDArray[Any], named: str
) -> None:
    """A sealed set whose columns do not belong together is named, not trained on."""
    copy = tmp_path / "copy"
    shutil.copytree(token_folder, copy)
    np.save(copy / "values.npy", column)
    tree.seal(copy, dict(tree.read_manifest(copy).meta))

    with pytest.raises(TreeDamaged, match=named):
        read_tokens([copy])
