"""One run of training, from the run folder to the summary."""

import hashlib
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import jax.numpy as jnp
import numpy as np
from jax import Array

from pilothouse import trainer
from pilothouse.programs.compile_cache import keep_compiled
from pilothouse.programs.forty_two import checkpoint, learner, loader, metrics, model, optimiser
from pilothouse.programs.forty_two.checkpoint import Training
from pilothouse.programs.forty_two.learner import Learnt, Pace, Recipe
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS
from pilothouse.programs.forty_two.token_files import read_tokens
from pilothouse.programs.forty_two.tokens import TokenRows
from pilothouse.trainer import JSON, OptionRefused, RunFolderBroken, TrainerError, TreeDamaged, tree
from pilothouse.trainer.values import canonical

_PACE_OPTIONS: Final = frozenset({"log_every", "checkpoint_every", "compile_cache"})
"""Options that change what is told and kept, not what is learnt."""


class LossDiverged(TrainerError):
    """The loss is no finite number any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a run, with the values of the demo."""

    preset: str = trainer.chosen(*PRESETS)
    mode: str = trainer.chosen(*Mode)
    learning_rate: float = trainer.bounded(1e-3, low=1e-8, high=1.0)
    weight_decay: float = trainer.bounded(0.01, low=0.0, high=1.0)
    warmup: float = trainer.bounded(0.05, low=0.0, high=1.0)
    """The share of steps over which the rate rises."""
    batch_size: int = trainer.bounded(256, low=1, high=65_536)
    epochs: float = trainer.bounded(2.0, low=0.001, high=10_000.0)
    samples: int = trainer.bounded(0, low=0, high=10**12)
    """How many samples to train on, however much data there is; 0: as many as `epochs` says."""
    shuffle_hands: bool = False
    rotate_seats: bool = False
    only_choices: bool = False
    """Leave out positions in which every legal move is worth the same: they have no wrong move to unlearn."""
    log_every: int = trainer.bounded(10, low=1, high=1_000_000)
    checkpoint_every: int = trainer.bounded(100, low=1, high=1_000_000)
    compile_cache: str | None = None
    """A folder for compiled programs; absent: the user's cache; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is fixed before the first step."""

    options: Options
    seed: int
    total: int
    training: Training
    """What the checkpoints are to say, at step 0."""

    def checkpoint_is_due(self, step: int) -> bool:
        """Tell whether `step` steps done call for a checkpoint."""
        return step % self.options.checkpoint_every == 0 or step == self.total


def train_run(run: trainer.Run) -> None:
    """Do the whole of a run."""
    options = trainer.read_options(Options, run.config)
    keep_compiled(options.compile_cache)
    rows = _rows(run, options)
    start = _start_folder(run)
    identity = _identity(run, options, start)
    plan = Plan(
        options=options,
        seed=run.seed,
        total=_total_steps(options, len(rows)),
        training=Training(preset=options.preset, mode=Mode(options.mode), step=0, identity=identity),
    )
    learnt, step = _first_state(run, plan, start)
    _train(run, plan, rows, learnt, step)


def _rows(run: trainer.Run, options: Options) -> TokenRows:
    folders = run.inputs.get("tokens", [])
    if not folders:
        raise RunFolderBroken("The input `tokens` names no token set.", fix="give folders that `tokenise` has made.")
    rows = read_tokens(folders)
    if options.only_choices:
        rows = rows.chosen(metrics.has_choice(rows))
    if not len(rows):
        raise RunFolderBroken("There is no row to train on.", fix="generate more rows, or set only_choices = false.")
    return rows


def _total_steps(options: Options, rows: int) -> int:
    epochs = options.samples / rows if options.samples else options.epochs
    return loader.step_count(rows=rows, batch_size=options.batch_size, epochs=epochs)


def _start_folder(run: trainer.Run) -> Path | None:
    folders = run.inputs.get("checkpoint", [])
    if len(folders) > 1:
        raise RunFolderBroken(f"The input `checkpoint` names {len(folders)} folders.", fix="give one, or none.")
    return folders[0] if folders else None


def _identity(run: trainer.Run, options: Options, start: Path | None) -> str:
    """Digest what decides the outcome, so that no checkpoint is taken for another training's."""
    told = {name: value for name, value in asdict(options).items() if name not in _PACE_OPTIONS}
    data: list[JSON] = [tree.read_manifest(folder).digest for folder in run.inputs["tokens"]]
    said: dict[str, JSON] = {
        "options": told,
        "seed": run.seed,
        "tokens": data,
        "start": tree.read_manifest(start).digest if start else None,
    }
    return hashlib.sha256(canonical(said)).hexdigest()


def _first_state(run: trainer.Run, plan: Plan, start: Path | None) -> tuple[Learnt, int]:
    if run.resume is not None:
        return _resumed(run.resume, plan)
    if start is None:
        return learner.begin(model.initial(PRESETS[plan.options.preset], seed=plan.seed)), 0
    described = checkpoint.describe(start)
    if described.preset != plan.options.preset:
        raise OptionRefused(
            f"preset = {plan.options.preset!r}, but the checkpoint {start} is a {described.preset!r}.",
            fix="give the checkpoint's preset, or no checkpoint.",
        )
    return learner.begin(checkpoint.load_weights(start, described.preset)), 0


def _resumed(resume: trainer.Resume, plan: Plan) -> tuple[Learnt, int]:
    described = checkpoint.describe(resume.checkpoint)
    if replace(described, step=0) != plan.training:
        raise TreeDamaged(
            f"{resume.checkpoint} belongs to another training: options, data or seed differ.",
            fix="start this run anew.",
        )
    if described.step < resume.step:
        raise TreeDamaged(
            f"{resume.checkpoint} has {described.step} steps, but this attempt must go on from {resume.step}.",
            fix="name the checkpoint of that step.",
        )
    return checkpoint.load(resume.checkpoint, described.preset), described.step


class _Meter:
    """Losses and speed since the last line; the first step, which compiles, counts for no speed."""

    def __init__(self) -> None:
        self._losses: list[Array] = []
        self._since: float | None = None
        self._timed = 0
        self.steps = 0
        self.seconds = 0.0

    def add(self, loss: Array) -> None:
        self._losses.append(loss)
        self._timed += 1
        if self._since is None:
            loss.block_until_ready()
            self._since, self._timed = time.perf_counter(), 0

    def take(self) -> tuple[float, float | None]:
        """Give the mean loss and the steps per second since the last call."""
        loss = math.fsum(float(value) for value in self._losses) / len(self._losses)
        now = time.perf_counter()
        seconds = now - self._since if self._since is not None else 0.0
        speed = self._timed / seconds if self._timed and seconds > 0 else None
        self.steps += self._timed
        self.seconds += seconds
        self._losses, self._since, self._timed = [], now, 0
        return loss, speed


def _train(run: trainer.Run, plan: Plan, rows: TokenRows, learnt: Learnt, first: int) -> None:
    options = plan.options
    recipe = Recipe(
        shape=PRESETS[options.preset],
        mode=plan.training.mode,
        shuffle_hands=options.shuffle_hands,
        rotate_seats=options.rotate_seats,
    )
    advance, meter = learner.compile_step(recipe), _Meter()
    latest: Path | None = None
    for step in range(first, plan.total):
        ids = loader.sample_ids(seed=plan.seed, rows=len(rows), batch_size=options.batch_size, step=step)
        learnt, loss = advance(learnt, learner.take(rows, ids), _pace(plan, step))
        meter.add(loss)
        done = step + 1
        if done % options.log_every == 0 or done == plan.total or plan.checkpoint_is_due(done) or run.stopping:
            _report(run, plan, meter, done)
        if plan.checkpoint_is_due(done) or run.stopping:
            latest = _save(run, plan, learnt, done)
        if run.stopping and done < plan.total:
            run.leave()
    _finish(run, plan, learnt, meter, latest or _save(run, plan, learnt, plan.total))


def _pace(plan: Plan, step: int) -> Pace:
    options = plan.options
    warmup = round(options.warmup * plan.total)
    rate = optimiser.learning_rate(peak=options.learning_rate, step=step, total=plan.total, warmup=warmup)
    return Pace(
        rate=optimiser.scalar(rate),
        decay=optimiser.scalar(options.weight_decay),
        seed=jnp.asarray(np.uint32(plan.seed & 0xFFFFFFFF)),
        step=jnp.asarray(np.uint32(step)),
    )


def _report(run: trainer.Run, plan: Plan, meter: _Meter, done: int) -> None:
    loss, speed = meter.take()
    speeds = {} if speed is None else {"samples_per_s": speed * plan.options.batch_size}
    run.log(done, total=plan.total, loss=loss, **speeds)
    if not math.isfinite(loss):
        raise LossDiverged(
            f"The loss is {loss} at step {done} of {plan.total}.",
            fix=f"lower learning_rate, which is {plan.options.learning_rate:g}.",
        )


def _save(run: trainer.Run, plan: Plan, learnt: Learnt, done: int) -> Path:
    training = replace(plan.training, step=done)
    return run.checkpoint(
        done,
        lambda folder: checkpoint.save(folder, learnt, training),
        meta={"preset": training.preset, "mode": training.mode.value, "identity": training.identity},
    )


def _finish(run: trainer.Run, plan: Plan, learnt: Learnt, meter: _Meter, latest: Path) -> None:
    batch_size = plan.options.batch_size
    measured: dict[str, float | int] = {
        "train_loss": learner.mean_loss(learnt),
        "steps": plan.total,
        "samples": plan.total * batch_size,
        "parameters": model.parameter_count(learnt.weights),
    }
    if meter.steps:
        measured["samples_per_s"] = meter.steps * batch_size / meter.seconds
        measured["seconds_per_step"] = meter.seconds / meter.steps
    run.finish(measured, artifacts={"checkpoint": latest})
