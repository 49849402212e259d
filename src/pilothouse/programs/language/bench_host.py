"""What of training needs no accelerator, measured at a preset's real sizes: checkpoints, the loader, tracing."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import jax.numpy as jnp
import numpy as np

from pilothouse.programs.language import batches, checkpoint, learner, model, token_shards
from pilothouse.programs.language.batches import Batches
from pilothouse.programs.language.checkpoint import Training
from pilothouse.programs.language.learner import Learnt
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.placement import place
from pilothouse.programs.language.plan import padded, recipe_of
from pilothouse.programs.language.presets import Preset
from pilothouse.programs.language.saver import Saver
from pilothouse.programs.language.token_shards import Tokens
from pilothouse.trainer import JSON, tree

_TOKENS: Final = 1 << 24
"""Made-up tokens that windows are taken from."""
_SHARDS: Final = 64
_SECONDS: Final = 1.0


def drawn_batches(sizes: Preset) -> Batches:
    """Return batches of made-up tokens."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, sizes.vocabulary, _TOKENS, dtype=np.uint32).astype(
        token_shards.narrowest(sizes.vocabulary)
    )
    return _batches(Tokens(pieces=(tokens,)), sizes)


def _batches(tokens: Tokens, sizes: Preset) -> Batches:
    return batches.batches({"tokens": tokens}, {"tokens": 1.0}, sequence=sizes.sequence, seed=0)


def checkpoints(learnt: Learnt) -> dict[str, JSON]:
    """Return how long training waits for a checkpoint, and how long one takes to be written and sealed.

    Two are saved each way, and the second counts; both are gone when this returns.
    """
    training = Training(preset="", vocabulary=0, tokeniser="none", step=1, identity="bench")
    told: dict[str, JSON] = {}
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as root:

        def write(_step: int, state: Learnt) -> Path:
            folder = Path(root) / "checkpoint"
            folder.mkdir(exist_ok=True)
            checkpoint.save(folder, state, training)
            tree.seal(folder)
            return folder

        for how in ("waiting", "beside"):
            with Saver(write, beside=learnt if how == "beside" else None) as saver:
                saver.save(1, learnt)
                saver.settle()
                saver.longest_stall = 0.0
                since = time.perf_counter()
                saver.save(2, learnt)
                told[f"checkpoint_stall_seconds_{how}"] = saver.longest_stall
            told[f"checkpoint_write_seconds_{how}"] = time.perf_counter() - since
        told["checkpoint_megabytes"] = sum(path.stat().st_size for path in (Path(root) / "checkpoint").iterdir()) / 1e6
    return told


def loading(sizes: Preset) -> dict[str, JSON]:
    """Return the tokens a second that the loader alone gives, from one mapped file and from many."""
    draw = np.random.default_rng(0)
    dtype = token_shards.narrowest(sizes.vocabulary)
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as root:
        for number in range(_SHARDS):
            part = draw.integers(0, sizes.vocabulary, _TOKENS // _SHARDS, dtype=np.uint32)
            (Path(root) / f"{number:03}.bin").write_bytes(part.astype(dtype).tobytes())
        whole = Path(root) / "whole.tokens"
        whole.write_bytes(b"".join(path.read_bytes() for path in sorted(Path(root).glob("*.bin"))))
        one = token_shards.read_plain(whole, sizes.vocabulary)
        layout = "uint16" if dtype.itemsize == np.dtype(np.uint16).itemsize else "uint32"
        many, _ = token_shards.read_shards(Path(root), layout=layout, vocabulary=sizes.vocabulary, validation=False)
        return {
            "loader_tokens_per_s": _loaded(_batches(one, sizes), sizes),
            "loader_tokens_per_s_from_shards": _loaded(_batches(many, sizes), sizes),
        }


def _loaded(rows: Batches, sizes: Preset) -> float:
    since, step = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - since) < _SECONDS or not step:
        rows.rows(step * sizes.batch, (step + 1) * sizes.batch)
        step += 1
    return step * sizes.batch * sizes.sequence / elapsed


def tracing(sizes: Preset) -> dict[str, JSON]:
    """Return how long the step takes to be traced and lowered in half precision, without a number in it."""
    placement = place(1, sizes.batch)
    recipe = recipe_of(Options(precision="bfloat16"), sizes, placement)
    learnt = learner.abstract(sizes.shape, padded(sizes.vocabulary), recipe.rule)
    tokens = model.form((sizes.batch, sizes.sequence + 1), jnp.int32)
    since = time.perf_counter()
    learner.trace_step(recipe, placement, learnt, tokens).lower()
    return {"trace_and_lower_seconds": time.perf_counter() - since}
