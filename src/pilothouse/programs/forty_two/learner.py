"""The state of training and one step of it, as a pure function of state, rows and step number."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from pilothouse.programs.forty_two import augment, model, optimiser
from pilothouse.programs.forty_two.losses import Batch, Mode, loss
from pilothouse.programs.forty_two.metrics import Answers
from pilothouse.programs.forty_two.model import Shape, Weights
from pilothouse.programs.forty_two.optimiser import Moments
from pilothouse.programs.forty_two.tokens import TokenRows

MEMORY: Final = 0.98
"""How much of the running loss each step keeps: it looks back some fifty steps."""


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

    rate: Array
    decay: Array
    seed: Array
    step: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the compiled step depends on."""

    shape: Shape
    mode: Mode
    shuffle_hands: bool
    rotate_seats: bool


Step = Callable[[Learnt, Batch, Pace], tuple[Learnt, Array]]


def begin(weights: Weights) -> Learnt:
    """Start training from weights, with fresh moments."""
    # Two arrays for two zeros: a step takes over the memory of each, and no memory can be taken over twice.
    nothing, no_weight = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
    return Learnt(weights, Progress(optimiser.begin(weights), nothing, no_weight))


def mean_loss(learnt: Learnt) -> float:
    """Give the mean loss of the latest steps; NaN before the first."""
    weight = float(learnt.progress.running_weight)
    return float(learnt.progress.running_loss) / weight if weight else float("nan")


def take(rows: TokenRows, ids: NDArray[np.int64]) -> Batch:
    """Pick the rows of a step; the compiled step then depends on their number only, not on that of all rows."""
    return Batch(*(jnp.asarray(getattr(rows, name)[ids]) for name in Batch._fields))


def compile_step(recipe: Recipe) -> Step:
    """Make the training step: state, this step's rows and its pace give the new state and the loss.

    The old state's memory is reused for the new one, so it must not be read afterwards.
    """
    return jax.jit(partial(_step, recipe), donate_argnums=0)


def _step(recipe: Recipe, learnt: Learnt, batch: Batch, pace: Pace) -> tuple[Learnt, Array]:
    batch = _augmented(recipe, batch, pace)

    def objective(weights: Weights) -> Array:
        answers = model.forward(weights, batch.tokens, batch.masks, batch.players, heads=recipe.shape.heads)
        return loss(recipe.mode, *answers, batch)

    current, gradient = jax.value_and_grad(objective)(learnt.weights)
    before, fresh = learnt.progress, 1 - MEMORY
    weights, moments = optimiser.update(gradient, before.moments, learnt.weights, pace.rate, pace.decay)
    progress = Progress(
        moments=moments,
        running_loss=MEMORY * before.running_loss + fresh * current,
        running_weight=MEMORY * before.running_weight + fresh,
    )
    return Learnt(weights, progress), current


def _augmented(recipe: Recipe, batch: Batch, pace: Pace) -> Batch:
    if recipe.shuffle_hands or recipe.rotate_seats:
        hands, seats = jax.random.split(augment.step_key(pace.seed, pace.step))
        batch = augment.shuffle_hands(batch, hands) if recipe.shuffle_hands else batch
        batch = augment.rotate_seats(batch, seats) if recipe.rotate_seats else batch
    return batch


class Reader:
    """A network that answers rows in blocks of one fixed size, the last one padded.

    The size is part of the arithmetic: other block sizes may round differently, so a result names its size.
    """

    def __init__(self, weights: Weights, shape: Shape, *, block_rows: int) -> None:
        self.block_rows = block_rows
        self._weights = weights
        self._forward = jax.jit(partial(model.forward, heads=shape.heads))

    def answer(self, rows: TokenRows, first: int) -> Answers:
        """Answer the rows from `first` on, as many as a block holds."""
        there = min(self.block_rows, len(rows) - first)

        def block(column: NDArray[np.int8]) -> Array:
            part = column[first : first + there]
            padding = [(0, self.block_rows - there), *[(0, 0)] * (part.ndim - 1)]
            return jnp.asarray(np.pad(part, padding))

        logits, value = self._forward(self._weights, block(rows.tokens), block(rows.masks), block(rows.players))
        return Answers(logits=np.asarray(logits)[:there], value=np.asarray(value)[:there])
