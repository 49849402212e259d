"""One run of evaluation, from the run folder to the summary and its samples."""

import time
from dataclasses import dataclass

import numpy as np

from pilothouse import trainer
from pilothouse.programs.compile_cache import keep_compiled
from pilothouse.programs.forty_two import checkpoint, metrics, model
from pilothouse.programs.forty_two.learner import Reader
from pilothouse.programs.forty_two.metrics import Answers
from pilothouse.programs.forty_two.model import PRESETS
from pilothouse.programs.forty_two.token_files import read_tokens
from pilothouse.programs.forty_two.tokens import TokenRows
from pilothouse.trainer import RunFolderBroken


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluating:
    """The options of a run."""

    preset: str = trainer.chosen(*PRESETS)
    """What to measure untrained where there is no checkpoint; a checkpoint brings its own."""
    block_rows: int = trainer.bounded(512, low=1, high=65_536)
    """Rows per block; part of the arithmetic, so keep it the same for results that are compared."""
    compile_cache: str | None = None
    """A folder for compiled programs; absent: the user's cache; empty: none."""


def evaluate_run(run: trainer.Run) -> None:
    """Do the whole of a run."""
    options = trainer.read_options(Evaluating, run.config)
    keep_compiled(options.compile_cache)
    folders = run.inputs.get("golden", [])
    if not folders:
        raise RunFolderBroken("The input `golden` names no token set.", fix="give a golden set that was tokenised.")
    rows = read_tokens(folders)
    reader = _reader(run, options)
    answers, samples_per_s = _answer(run, reader, rows)
    measured: dict[str, float | None] = {**metrics.summarise(answers, rows), "block_rows": float(options.block_rows)}
    if samples_per_s is not None:
        measured["samples_per_s"] = samples_per_s
    run.finish(measured, samples=metrics.sample_columns(answers, rows))


def _reader(run: trainer.Run, options: Evaluating) -> Reader:
    folders = run.inputs.get("checkpoint", [])
    if not folders:
        shape = PRESETS[options.preset]
        return Reader(model.initial(shape, seed=run.seed), shape, block_rows=options.block_rows)
    described = checkpoint.describe(folders[0])
    weights = checkpoint.load_weights(folders[0], described.preset)
    return Reader(weights, PRESETS[described.preset], block_rows=options.block_rows)


def _answer(run: trainer.Run, reader: Reader, rows: TokenRows) -> tuple[Answers, float | None]:
    """Answer all rows; the speed leaves out the first block, which compiles, and is None where there is no other."""
    answered: list[Answers] = []
    timed_rows, since = 0, 0.0
    for first in range(0, len(rows), reader.block_rows):
        if run.stopping:
            run.leave()
        answered.append(reader.answer(rows, first))
        done = first + len(answered[-1].value)
        if first == 0:
            since = time.perf_counter()
        else:
            timed_rows += len(answered[-1].value)
        run.log(done, total=len(rows))
    seconds = time.perf_counter() - since
    answers = Answers(
        logits=np.concatenate([part.logits for part in answered]),
        value=np.concatenate([part.value for part in answered]),
    )
    return answers, timed_rows / seconds if timed_rows else None
