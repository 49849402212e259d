"""One run of training, from the run folder to the summary."""

from __future__ import annotations

import gc
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from jax import Array

from pilothouse import trainer
from pilothouse.programs.compile_cache import keep_compiled
from pilothouse.programs.language import batches, checkpoint, corpus, flops, learner, model
from pilothouse.programs.language.batches import Batches
from pilothouse.programs.language.corpus import Corpus
from pilothouse.programs.language.devices import ask_for_same_bits, hosts_stop, join_other_hosts
from pilothouse.programs.language.examples import Measured, sample_columns
from pilothouse.programs.language.learner import Learnt, Reader, Told
from pilothouse.programs.language.measuring import Measurer, figures
from pilothouse.programs.language.meter import Cost, Meter
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.placement import Placement, place
from pilothouse.programs.language.plan import Plan, make_plan, settled_preset, sizes_of
from pilothouse.programs.language.saver import Saver
from pilothouse.trainer import OptionRefused, TrainerError, TreeDamaged

_EXTRA_STEPS = 3
"""Steps that only measure, where an attempt had none of its own left to time."""


class LossDiverged(TrainerError):
    """The loss is no finite number any more, or has left all reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a run works with."""

    run: trainer.Run
    plan: Plan
    placement: Placement
    corpus: Corpus
    rows: Batches
    peak_tflops: float | None
    """Of one device; None where it is not known."""
    since: float
    """When this attempt began, by the steady clock."""


def train_run(run: trainer.Run) -> None:
    """Do the whole of a run."""
    since = time.perf_counter()
    options = trainer.read_options(Options, run.config)
    keep_compiled(options.compile_cache)
    if options.deterministic:
        ask_for_same_bits()
    if options.distributed:
        join_other_hosts()
    preset = settled_preset(options)
    placement = place(options.devices, preset.batch)
    read = corpus.prepare(options, sizes_of(preset))
    _check_evaluation_set(options, read)
    plan = make_plan(options, preset, read, placement, seed=run.seed)
    run.artifact("data", lambda folder: _describe(folder, read), meta={"content": read.evaluation_digest})
    stage = Stage(
        run=run,
        plan=plan,
        placement=placement,
        corpus=read,
        rows=batches.batches(read.training, read.weights, sequence=preset.sequence, seed=run.seed),
        peak_tflops=flops.peak_tflops(options.peak_tflops, placement.first)[0],
        since=since,
    )
    learnt, first = _first_state(stage)
    _Training(stage, first).train(learnt)


def _check_evaluation_set(options: Options, read: Corpus) -> None:
    wanted, found = options.eval_digest, read.evaluation_digest
    if wanted is not None and not (wanted and found.startswith(wanted)):
        raise OptionRefused(
            f"eval_digest = {wanted!r}, but the evaluation set here has the digest {found[:16]}… "
            f"(Python {read.described['python']}).",
            fix="use the Python and the files it was locked with, or lock it anew and start a new baseline.",
        )


def _describe(folder: Path, read: Corpus) -> None:
    text = json.dumps(read.described, indent=2, sort_keys=True) + "\n"
    (folder / "data.json").write_text(text, encoding="utf-8")


def _first_state(stage: Stage) -> tuple[Learnt, int]:
    plan, resume = stage.plan, stage.run.resume
    weights = model.initial(plan.preset.shape, plan.vocabulary, seed=plan.seed)
    learnt = learner.begin(weights, plan.recipe.rule)
    step = 0
    if resume is not None:
        described = checkpoint.describe(resume.checkpoint)
        _check_resumed(resume, described, plan)
        learnt, step = checkpoint.load(resume.checkpoint, learnt), described.step
    placed: Learnt = stage.placement.replicate(learnt)
    return placed, step


def _check_resumed(resume: trainer.Resume, described: checkpoint.Training, plan: Plan) -> None:
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


class _Training:
    """The loop over steps, and what it tells.

    A step is heard of when the next one has been sent off, so the device never waits for the host.
    """

    def __init__(self, stage: Stage, first: int) -> None:
        self.stage, self.plan, self.run = stage, stage.plan, stage.run
        self.first = first
        count = stage.placement.count
        cost = Cost(
            tokens=self.plan.tokens_per_step,
            true_flops=self.plan.true_flops_per_step,
            nominal_flops=self.plan.nominal_flops_per_step,
            peak_tflops=None if stage.peak_tflops is None else stage.peak_tflops * count,
        )
        self.meter = Meter(cost, trailing=self.plan.options.trailing_steps)
        reader = Reader(self.plan.recipe, stage.placement, rows=self.plan.preset.eval_rows)
        self.measurer = Measurer(reader=reader, evaluation=stage.corpus.evaluation, interrupted=self._asked_alone)
        self.measured_before: dict[str, float] = {}
        self.compile_seconds = 0.0
        self._losses: list[float] = []
        self._ahead: tuple[int, Array] | None = None
        self._pending: Told | None = None
        self._gradient_norm = math.nan

    # ------------------------------------------------------------------ the way through

    def train(self, learnt: Learnt) -> None:
        """Train from the first step to the summary."""
        self._greet(learnt)
        since = time.perf_counter()
        self.advance = learner.compile_step(self.plan.recipe, self.stage.placement, learnt, self._tokens(self.first))
        self.compile_seconds = time.perf_counter() - since
        with Saver(self._write, beside=learnt if self.plan.beside else None) as saver:
            for step in range(self.first, self.plan.total):
                learnt = self._step(learnt, step)
                self._look(learnt, step + 1, saver)
            latest = saver.save_now(self.plan.total, learnt)
        self._finish(learnt, latest, saver.longest_stall)

    def _greet(self, learnt: Learnt) -> None:
        """Tell where this attempt begins, with a measurement if it is the very beginning."""
        if self.first == 0 and self.plan.options.eval_first:
            measured = self.measurer.measure(learnt.weights)
            self.measured_before = figures(measured) if measured is not None else {}
        self.run.log(self.first, total=self.plan.total, tokens=self._tokens_after(self.first), **self.measured_before)

    def _step(self, learnt: Learnt, step: int) -> Learnt:
        pace = learner.pace(rate=self.plan.schedule.rate(step), decay=self.plan.options.weight_decay)
        learnt, told = self.advance(learnt, self._tokens(step), pace)
        if step + 1 < self.plan.total:
            self._ahead = (step + 1, self._placed(step + 1))
        self._settle(step)
        self._pending = told
        if step == self.first:
            # What lives now lives to the end: the collector's pauses need not look at it again.
            self._settle(step + 1)
            gc.collect()
            gc.freeze()
            self.meter.resumed(time.perf_counter())
        return learnt

    def _look(self, learnt: Learnt, done: int, saver: Saver) -> None:
        """Tell, save and measure where that is due, and leave where that is asked."""
        plan = self.plan
        saver.check()
        saving, measuring = plan.checkpoint_is_due(done), plan.evaluation_is_due(done)
        telling = done % plan.options.log_every == 0 or done == plan.total
        agreed = plan.options.distributed and hosts_stop(done)
        if not (saving or measuring or telling or agreed or self._asked_alone()):
            return
        self._settle(done)
        self._tell(learnt, done)
        if (agreed or self._asked_alone()) and done < plan.total:
            saver.save_now(done, learnt)
            self.run.leave()
        if saving:
            saver.save(done, learnt)
        if measuring:
            self._measure(learnt, done)
        if saving or measuring:
            self.meter.resumed(time.perf_counter())

    def _asked_alone(self) -> bool:
        """Tell whether this host was asked to stop and may leave by itself: one of several may not."""
        return self.run.stopping and not self.plan.options.distributed

    def _finish(self, learnt: Learnt, latest: Path, stall: float) -> None:
        measured = self.measurer.measure(learnt.weights)
        if measured is None:
            self.run.leave()
        told = figures(measured)
        train_loss = learner.mean_loss(learnt)
        self.run.log(self.plan.total, total=self.plan.total, **told)
        if not self.meter.summary():
            self._time_some_steps(learnt)
        self.run.finish(
            {**told, "train_loss": train_loss, "checkpoint_stall_seconds": stall, **self._sizes(), **self._speeds()},
            samples=sample_columns(measured),
            artifacts={"checkpoint": latest},
        )

    # ------------------------------------------------------------------ pieces

    def _tokens(self, step: int) -> Array:
        """Return the tokens of a step, which were put on the devices while the step before was under way."""
        if self._ahead is not None and self._ahead[0] == step:
            return self._ahead[1]
        return self._placed(step)

    def _placed(self, step: int) -> Array:
        preset = self.plan.preset
        first = step * preset.batch
        shape = (preset.batch, preset.sequence + 1)
        return self.stage.placement.scatter(shape, lambda low, high: self.stage.rows.rows(first + low, first + high))

    def _tokens_after(self, done: int) -> int:
        return done * self.plan.tokens_per_step

    def _settle(self, done: int) -> None:
        """Wait for the step that was sent off last and take in what it tells; `done` steps are done then."""
        if self._pending is None:
            return
        told, self._pending = self._pending, None
        loss = float(told.loss)
        self.meter.step_done(time.perf_counter())
        self._losses.append(loss)
        self._gradient_norm = float(told.gradient_norm)
        if not math.isfinite(loss):
            self.run.log(done, total=self.plan.total, loss=loss, grad_norm=self._gradient_norm)
            self._diverged(f"The loss is {loss} at step {done} of {self.plan.total}.")

    def _tell(self, learnt: Learnt, done: int) -> None:
        if self._losses:
            self.run.log(
                done,
                total=self.plan.total,
                loss=math.fsum(self._losses) / len(self._losses),
                learning_rate=self.plan.schedule.rate(done - 1),
                grad_norm=self._gradient_norm,
                tokens=self._tokens_after(done),
                **self.meter.take(),
            )
            self._losses = []
        self._check_sanity(learnt, done)

    def _check_sanity(self, learnt: Learnt, done: int) -> None:
        """End a run whose running loss is far above that of guessing, once the warm-up is over."""
        margin = self.plan.options.diverged_above
        limit = math.log(self.plan.tokens_known) + margin
        running = learner.mean_loss(learnt)
        if margin and done > self.plan.schedule.warmup_steps and running > limit:
            self.run.log(done, total=self.plan.total, diverged=math.inf)
            self._diverged(f"The running loss is {running:.3f} at step {done}, above {limit:.3f}: worse than guessing.")

    def _diverged(self, problem: str) -> NoReturn:
        raise LossDiverged(problem, fix=f"lower learning_rate, whose peak is {self.plan.schedule.peak:g}.")

    def _write(self, done: int, learnt: Learnt) -> Path:
        training = replace(self.plan.training, step=done)
        return self.run.checkpoint(
            done,
            lambda folder: checkpoint.save(folder, learnt, training),
            meta={"preset": training.preset, "identity": training.identity},
        )

    def _measure(self, learnt: Learnt, done: int) -> None:
        measured: list[Measured] | None = self.measurer.measure(learnt.weights)
        if measured is not None:
            self.run.log(done, total=self.plan.total, **figures(measured))

    def _time_some_steps(self, learnt: Learnt) -> None:
        """Time steps whose outcome nobody keeps: the state is on the disk already."""
        for step in range(self.plan.total, self.plan.total + _EXTRA_STEPS):
            learnt, told = self.advance(learnt, self._tokens(step), learner.pace(rate=0.0, decay=0.0))
            told.loss.block_until_ready()
            self.meter.step_done(time.perf_counter())

    def _sizes(self) -> dict[str, float]:
        plan, total = self.plan, self.plan.total
        before = {f"{name}_before": value for name, value in self.measured_before.items() if name == "eval_bpb"}
        return {
            **before,
            "steps": total,
            "steps_this_attempt": total - self.first,
            "tokens": self._tokens_after(total),
            "epochs": max(self.stage.rows.epochs(total * plan.preset.batch)),
            "parameters": plan.parameters,
            "parameters_without_embeddings": flops.body_parameter_count(plan.preset.shape),
            "nominal_flops": plan.nominal_flops_per_step * total,
            "true_flops": plan.true_flops_per_step * total,
        }

    def _speeds(self) -> dict[str, float]:
        return {
            **self.meter.summary(),
            **({} if self.stage.peak_tflops is None else {"peak_tflops": self.stage.peak_tflops}),
            "device_count": self.stage.placement.count,
            "compile_seconds": self.compile_seconds,
            "wall_seconds": time.perf_counter() - self.stage.since,
        }
