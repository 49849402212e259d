"""How fast a preset trains and answers on this machine, on made-up rows of the right form."""

import time
from collections.abc import Callable
from typing import Final

import jax.numpy as jnp
import numpy as np

from pilothouse.programs.forty_two import learner, model, optimiser, tokens
from pilothouse.programs.forty_two.learner import Learnt, Pace, Reader, Recipe, Step
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS
from pilothouse.programs.forty_two.rules import HAND
from pilothouse.programs.forty_two.tokens import FEATURES, TOKENS, VOCABULARY, TokenRows
from pilothouse.trainer import JSON

Progress = Callable[[int, int], None]
"""Hears how many timed calls are done, of how many."""

_BATCH_ROWS: Final = 512
_CALLS: Final = 10
_FORM_SEED = 42


def run(*, preset: str, progress: Progress | None = None) -> dict[str, JSON]:
    """Time training steps and answers of one preset; speeds are medians over ten calls of 512 rows."""
    assert preset in PRESETS, f"preset {preset!r} is none of {', '.join(PRESETS)}"
    rows = made_up_rows(_BATCH_ROWS)
    weights = model.initial(PRESETS[preset], seed=0)
    parameters = model.parameter_count(weights)
    told = progress or (lambda _done, _total: None)
    answering = _time_answers(preset, weights, rows, lambda done: told(done, 2 * _CALLS))
    training = _time_training(preset, weights, rows, lambda done: told(_CALLS + done, 2 * _CALLS))
    return {
        "preset": preset,
        "parameters": parameters,
        "batch_size": _BATCH_ROWS,
        "train_samples_per_s": _BATCH_ROWS / float(np.median(training[1:])),
        "eval_samples_per_s": _BATCH_ROWS / float(np.median(answering[1:])),
        "train_compile_seconds": training[0] - float(np.median(training[1:])),
        "eval_compile_seconds": answering[0] - float(np.median(answering[1:])),
    }


def made_up_rows(count: int) -> TokenRows:
    """Return rows with the right shapes and vocabularies, and no meaning."""
    draw = np.random.default_rng(_FORM_SEED)
    features = [draw.integers(0, size, (count, TOKENS)) for size in VOCABULARY]

    def small(low: int, high: int, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        return draw.integers(low, high, (count, *shape)).astype(np.int8)

    columns = {
        "tokens": np.stack(features, axis=-1).astype(np.int8).reshape(count, TOKENS, FEATURES),
        "masks": np.ones((count, TOKENS), dtype=np.int8),
        "targets": small(0, HAND),
        "legal": np.ones((count, HAND), dtype=np.int8),
        "qvals": small(-42, 43, HAND),
        "teams": small(0, 2),
        "players": small(0, 4),
        "values": small(-42, 43),
        "declaration": small(0, 10),
        "left": small(1, 29),
        "deal": np.arange(count, dtype=np.int64),
        "state": np.arange(count, dtype=np.int64),
    }
    return tokens.from_columns(columns)


def _time_answers(preset: str, weights: model.Weights, rows: TokenRows, on_call: Callable[[int], None]) -> list[float]:
    reader = Reader(weights, PRESETS[preset], block_rows=len(rows))
    return _timed(lambda: reader.answer(rows, 0), on_call)


def _time_training(preset: str, weights: model.Weights, rows: TokenRows, on_call: Callable[[int], None]) -> list[float]:
    recipe = Recipe(shape=PRESETS[preset], mode=Mode.POLICY, shuffle_hands=False, rotate_seats=False)
    trained = _Trained(learner.compile_step(recipe), learner.begin(weights), rows)
    return _timed(trained.advance, on_call)


class _Trained:
    """Training that goes on by one step a call, over the same rows."""

    def __init__(self, step: Step, learnt: Learnt, rows: TokenRows) -> None:
        self._step, self._learnt, self._rows = step, learnt, rows
        self._ids = np.arange(len(rows))
        number = jnp.zeros((), jnp.uint32)
        self._pace = Pace(optimiser.scalar(1e-3), optimiser.scalar(0.01), number, number)

    def advance(self) -> None:
        self._learnt, loss = self._step(self._learnt, learner.take(self._rows, self._ids), self._pace)
        loss.block_until_ready()


def _timed(call: Callable[[], object], on_call: Callable[[int], None]) -> list[float]:
    """Return the seconds of each call; the first one compiles and is followed by the timed ones."""
    seconds = []
    for done in range(_CALLS + 1):
        since = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - since)
        if done:
            on_call(done)
    return seconds
