"""The state of training and one step of it, as a pure function of state, tokens and pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from pilothouse.programs.language import loss, model, optimiser
from pilothouse.programs.language.model import Arithmetic, Weights
from pilothouse.programs.language.optimiser import Moments, Rule
from pilothouse.programs.language.placement import AXIS, Placement, spec
from pilothouse.programs.language.presets import Shape

MEMORY: Final = 0.98
"""How much of the running loss each step keeps: it looks back some fifty steps."""

_COMPILER_OPTIONS: Final[dict[str, Any]] = {"xla_gpu_enable_triton_gemm": False}
"""Products come from the maker's library alone: XLA's own would be made and timed in dozens of forms each."""


class Progress(NamedTuple):
    """What a step changes besides the weights."""

    moments: Moments
    running_loss: Array
    """float32: sum of past losses with fading weight."""
    running_weight: Array
    """float32: sum of those weights."""


class Learnt(NamedTuple):
    """All that a step changes; a checkpoint holds exactly this and the number of steps done."""

    weights: Weights
    progress: Progress


class Pace(NamedTuple):
    """What a step is told by number rather than compiled in."""

    rate: NDArray[np.float32]
    decay: NDArray[np.float32]


class Told(NamedTuple):
    """What a step tells."""

    loss: Array
    """Mean nats a token, without the z-loss."""
    gradient_norm: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the compiled step depends on."""

    shape: Shape
    rule: Rule
    arithmetic: Arithmetic
    z_loss: float
    loss_tokens: int
    """Tokens whose logits are in memory at once."""
    micro_batch: int
    """Sequences a device takes at once; 0: all of its share."""


_average: Callable[..., Any] = jax.lax.pmean

Step: TypeAlias = Callable[[Learnt, Array, Pace], tuple[Learnt, Told]]


def begin(weights: Weights, rule: Rule) -> Learnt:
    """Start training from weights, with fresh moments."""
    # Two arrays for two zeros: a step takes over the memory of each, and no memory can be taken over twice.
    nothing, no_weight = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
    return Learnt(weights, Progress(optimiser.begin(weights, rule), nothing, no_weight))


def blank(shape: Shape, vocabulary: int, rule: Rule) -> Learnt:
    """Return a state of the right forms and of zeros: as large as a true one, and made in no time."""
    learnt: Learnt = jax.tree_util.tree_map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), abstract(shape, vocabulary, rule)
    )
    return learnt


def mean_loss(learnt: Learnt) -> float:
    """Give the mean loss of the latest steps; NaN before the first."""
    weight = float(learnt.progress.running_weight)
    return float(learnt.progress.running_loss) / weight if weight else float("nan")


def pace(*, rate: float, decay: float) -> Pace:
    """Turn two numbers into arguments of a step; NumPy's own, which every host can hand to all devices."""
    return Pace(np.asarray(rate, np.float32), np.asarray(decay, np.float32))


def abstract(shape: Shape, vocabulary: int, rule: Rule) -> Learnt:
    """Return the forms of a state of training without a number in it."""
    learnt: Learnt = jax.eval_shape(partial(begin, rule=rule), model.abstract(shape, vocabulary))
    return learnt


def trace_step(recipe: Recipe, placement: Placement, learnt: Learnt, tokens: Any) -> jax.stages.Traced:
    """Trace the step for arguments of these forms: state, tokens int32[rows, t + 1] and pace give state and news.

    The old state's memory is reused for the new one, so it must not be read afterwards.
    """
    everywhere = placement.everywhere
    stepping = jax.jit(
        partial(_step, recipe, placement),
        donate_argnums=0,
        in_shardings=(everywhere, placement.by_rows, everywhere),
        out_shardings=everywhere,
    )
    return stepping.trace(learnt, tokens, pace(rate=0.0, decay=0.0))


def compile_step(recipe: Recipe, placement: Placement, learnt: Learnt, tokens: Array) -> Step:
    """Compile the step, see `trace_step`: it takes arguments of these forms and is never traced again."""
    compiled: Step = compile_lowered(trace_step(recipe, placement, learnt, tokens).lower(), placement)
    return compiled


def compile_lowered(lowered: jax.stages.Lowered, placement: Placement) -> Any:
    """Compile what was lowered for the devices of a placement."""
    options = _COMPILER_OPTIONS if placement.platform in {"gpu", "cuda"} else None
    return lowered.compile(compiler_options=options)


def _step(recipe: Recipe, placement: Placement, learnt: Learnt, tokens: Array, pace_: Pace) -> tuple[Learnt, Told]:
    gradient, entropy = _gradient_over(recipe, placement)(learnt.weights, tokens)
    before, fresh = learnt.progress, 1 - MEMORY
    weights, moments, norm = optimiser.update(
        gradient, before.moments, learnt.weights, recipe.rule, pace_.rate, pace_.decay
    )
    progress = Progress(
        moments=moments,
        running_loss=MEMORY * before.running_loss + fresh * entropy,
        running_weight=MEMORY * before.running_weight + fresh,
    )
    return Learnt(weights, progress), Told(entropy, norm)


def _gradient_over(recipe: Recipe, placement: Placement) -> Callable[[Weights, Array], tuple[Weights, Array]]:
    """Return the gradient as a function of all rows: each device takes its own, and the means are averaged."""
    own = partial(_gradient, recipe)
    if placement.count == 1:
        return own

    def averaged(weights: Weights, tokens: Array) -> tuple[Weights, Array]:
        averages: tuple[Weights, Array] = _average(own(weights, tokens), AXIS)
        return averages

    everywhere, rows = spec(), spec(AXIS)
    return jax.shard_map(
        averaged, mesh=placement.mesh, in_specs=(everywhere, rows), out_specs=(everywhere, everywhere), check_vma=False
    )


def _gradient(recipe: Recipe, weights: Weights, tokens: Array) -> tuple[Weights, Array]:
    """Return the mean gradient and the mean entropy over the rows of one device, a micro-batch at a time."""
    rows = tokens.shape[0]
    at_once = recipe.micro_batch or rows
    if at_once >= rows:
        return _gradient_at_once(recipe, weights, tokens)
    count = rows // at_once

    def add(sums: Any, part: Array) -> tuple[Any, None]:
        return jax.tree_util.tree_map(jnp.add, sums, _gradient_at_once(recipe, weights, part)), None

    zeros = (jax.tree_util.tree_map(jnp.zeros_like, weights), jnp.zeros((), jnp.float32))
    sums, _ = jax.lax.scan(add, zeros, tokens.reshape(count, at_once, -1))
    means: tuple[Weights, Array] = jax.tree_util.tree_map(lambda leaf: leaf / count, sums)
    return means


def _gradient_at_once(recipe: Recipe, weights: Weights, tokens: Array) -> tuple[Weights, Array]:
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    positions = loss.chunk_positions(rows=inputs.shape[0], length=inputs.shape[1], tokens=recipe.loss_tokens)

    def objective(weights: Weights) -> tuple[Array, Array]:
        states = model.forward(weights, inputs, recipe.shape, recipe.arithmetic)
        minimised, entropy = loss.summed(states, model.head_of(weights), targets, recipe.z_loss, positions)
        return minimised / targets.size, entropy / targets.size

    (_, entropy), gradient = jax.value_and_grad(objective, has_aux=True)(weights)
    return gradient, entropy


class Reader:
    """A network that tells the nats of each token, in blocks of one fixed size.

    The size is part of the arithmetic: other block sizes may round differently, so a result names its size.
    """

    def __init__(self, recipe: Recipe, placement: Placement, *, rows: int) -> None:
        self.rows = rows
        self._placement = placement
        self._read = jax.jit(partial(_read, _for_reading(recipe, placement)), out_shardings=placement.everywhere)
        self._compiled: Callable[[Weights, Array], Array] | None = None

    def nats(self, weights: Weights, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return float32[rows, t] for tokens int32[rows, t + 1]: what each token after the first costs."""
        assert tokens.shape[0] == self.rows, tokens.shape
        placed = self._placement.scatter(tokens.shape, lambda first, end: tokens[first:end])
        if self._compiled is None:
            self._compiled = compile_lowered(self._read.lower(weights, placed), self._placement)
        return np.asarray(self._compiled(weights, placed))


def _for_reading(recipe: Recipe, placement: Placement) -> Recipe:
    """Return the recipe with layers in a loop: an accelerator lays them out for what training keeps of them."""
    if placement.platform == "cpu":
        return recipe
    return replace(recipe, arithmetic=replace(recipe.arithmetic, unroll=1))


def _read(recipe: Recipe, weights: Weights, tokens: Array) -> Array:
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    positions = loss.chunk_positions(rows=inputs.shape[0], length=inputs.shape[1], tokens=recipe.loss_tokens)
    states = model.forward(weights, inputs, recipe.shape, recipe.arithmetic)
    return loss.token_nats(states, model.head_of(weights), targets, positions)
