"""One run of self-play, from the run folder to the summary."""

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from pilothouse import trainer
from pilothouse.programs.compile_cache import keep_compiled
from pilothouse.programs.forty_two import self_play_policy as policy
from pilothouse.programs.forty_two.deal import deal_hands
from pilothouse.programs.forty_two.rules import DECLARATIONS, DOMINOES, HAND_POINTS
from pilothouse.programs.forty_two.self_play_game import PLAYS, Deals, Policy, by_chance, greedy, play_out, random_deals
from pilothouse.programs.forty_two.self_play_policy import Aim, Weights
from pilothouse.programs.pytrees import filled, named
from pilothouse.programs.tensors import write_tensors
from pilothouse.trainer import JSON, TrainerError, TreeDamaged
from pilothouse.trainer.values import canonical

STATE: Final = "state.safetensors"
TOLD: Final = "self-play.json"
EVALUATION_SEED: Final = 900
"""The first of the deals that are played against the fixed opponent, whatever the run's seed."""
_CLIP: Final = 1.0
_DIRECTION: Final = optax.chain(optax.clip_by_global_norm(_CLIP), optax.scale_by_adam())
_PACE: Final = frozenset({"log_every", "checkpoint_every", "compile_cache"})
PRESETS: Final = {"nano": (256, 160, 32), "full": (4096, 2000, 128)}
"""Games per update, updates, width: `nano` takes half a minute on two cores."""


class SelfPlayDiverged(TrainerError):
    """The weights are no finite numbers any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a run; 0 leaves a size to the preset."""

    preset: str = trainer.chosen(*PRESETS)
    opponent: str = trainer.chosen("greedy", "random")
    """Whom the metric is measured against; it is never trained on."""
    learning_rate: float = trainer.bounded(3e-3, low=1e-6, high=1.0)
    entropy: float = trainer.bounded(0.01, low=0.0, high=1.0)
    value: float = trainer.bounded(0.5, low=0.0, high=10.0)
    cooling: float = trainer.bounded(0.5, low=0.0, high=1.0)
    """The share of updates, at the end, over which the rate falls to nothing."""
    games: int = trainer.bounded(0, low=0, high=1_000_000)
    updates: int = trainer.bounded(0, low=0, high=10_000_000)
    width: int = trainer.bounded(0, low=0, high=4096)
    evaluation_deals: int = trainer.bounded(500, low=1, high=100_000)
    log_every: int = trainer.bounded(20, low=1, high=1_000_000)
    checkpoint_every: int = trainer.bounded(40, low=1, high=1_000_000)
    compile_cache: str | None = None
    """A folder for compiled programs; absent: the user's cache; empty: none."""


class Learnt(NamedTuple):
    """All that an update changes."""

    weights: Weights
    moments: Any
    """Optax's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a run's options and preset come to."""

    games: int
    updates: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is fixed before the first update. `identity` names what decides the outcome."""

    options: Options
    sizes: Sizes
    seed: int
    identity: str


def sizes_of(options: Options) -> Sizes:
    """Return the sizes that are given, and the preset's for the others."""
    games, updates, width = PRESETS[options.preset]
    return Sizes(games=options.games or games, updates=options.updates or updates, width=options.width or width)


def self_play_run(run: trainer.Run) -> None:
    """Do the whole of a run."""
    options = trainer.read_options(Options, run.config)
    keep_compiled(options.compile_cache)
    told: dict[str, JSON] = {name: value for name, value in asdict(options).items() if name not in _PACE}
    identity = hashlib.sha256(canonical({"seed": run.seed, "options": told})).hexdigest()
    plan = Plan(options=options, sizes=sizes_of(options), seed=run.seed, identity=identity)
    learnt, first = _first_state(run, plan)
    _train(run, plan, learnt, first)


def begin(width: int, *, seed: int) -> Learnt:
    """Return fresh weights with fresh moments."""
    weights = policy.initial(width, seed=seed)
    return Learnt(weights, _DIRECTION.init(weights))


@partial(jax.jit, static_argnames="games")
def update(learnt: Learnt, key: Array, pace: Array, aim: Aim, *, games: int) -> tuple[Learnt, tuple[Array, Array]]:
    """Play a batch of games with the weights, and learn from it; returns the entropy and the values' error beside."""
    dealing, playing = jax.random.split(key)
    batch, _ = policy.play_batch(learnt.weights, random_deals(dealing, games), playing)
    gradient, told = jax.grad(policy.loss, has_aux=True)(learnt.weights, batch, aim)
    direction, moments = _DIRECTION.update(gradient, learnt.moments, learnt.weights)
    weights: Weights = jax.tree_util.tree_map(lambda old, way: old - pace * way, learnt.weights, direction)
    return Learnt(weights, moments), told


@partial(jax.jit, static_argnames="opponent")
def margins(weights: Weights, deals: Deals, *, opponent: str) -> Array:
    """Return float32[n]: the points by which the network beats the opponent on each deal, the mean of both sides.

    Each deal is played twice, once from either team, so a good hand helps both.
    """
    own: Policy = policy.best(weights)
    other: Policy = greedy if opponent == "greedy" else by_chance
    key = jax.random.key(EVALUATION_SEED)
    return (play_out(deals, (own, other), key) - play_out(deals, (other, own), key)) / 2


def evaluation_deals(count: int) -> Deals:
    """Return the fixed deals, the declaration of each being its seed modulo ten."""
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + count)
    owners = np.zeros((count, DOMINOES), dtype=np.int32)
    for place, seed in enumerate(seeds):
        for seat, hand in enumerate(deal_hands(seed)):
            owners[place, hand] = seat
    declarations = np.array([seed % DECLARATIONS for seed in seeds], dtype=np.int32)
    return Deals(owners=jnp.asarray(owners), declarations=jnp.asarray(declarations))


def _pace(plan: Plan, done: int) -> Array:
    """Return the rate of the update behind `done` updates: flat, then falling in a straight line to nothing."""
    left = (plan.sizes.updates - done) / plan.sizes.updates
    share = min(1.0, left / plan.options.cooling) if plan.options.cooling > 0 else 1.0
    return jnp.asarray(plan.options.learning_rate * share, jnp.float32)


def _train(run: trainer.Run, plan: Plan, learnt: Learnt, first: int) -> None:
    options, sizes = plan.options, plan.sizes
    aim = Aim(jnp.asarray(options.entropy, jnp.float32), jnp.asarray(options.value, jnp.float32))
    deals = evaluation_deals(options.evaluation_deals)
    root = jax.random.key(plan.seed % 2**32)
    meter = _Meter()
    kept = _save(run, plan, learnt, first) if first == sizes.updates else None
    for done in range(first + 1, sizes.updates + 1):
        key = jax.random.fold_in(root, done)
        learnt, told = update(learnt, key, _pace(plan, done - 1), aim, games=sizes.games)
        meter.add(float(told[0]))
        last = done == sizes.updates
        if done % options.log_every == 0 or last:
            _log(run, plan, done, margins(learnt.weights, deals, opponent=options.opponent), told)
        if done % options.checkpoint_every == 0 or last or run.stopping:
            kept = _save(run, plan, learnt, done)
        if run.stopping and not last:
            run.leave()
    assert kept is not None, f"{sizes.updates} updates end with a checkpoint"
    speed = meter.speed(games=sizes.games)
    _finish(run, plan, np.asarray(margins(learnt.weights, deals, opponent=options.opponent)), kept, speed)


class _Meter:
    """Counts updates and their seconds; the first one compiles and does not count."""

    def __init__(self) -> None:
        self._updates = -1
        self._since = self._until = 0.0

    def add(self, entropy: float) -> None:
        """Count an update whose result has arrived: to have its `entropy` is to have waited for it."""
        assert not math.isinf(entropy), "the chances of a play sum to one"
        self._updates += 1
        self._until = time.perf_counter()
        if self._updates == 0:
            self._since = self._until

    def speed(self, *, games: int) -> dict[str, float]:
        """Return the plays per second, evaluation and checkpoints included, where more than one update was made."""
        seconds = self._until - self._since
        return {"env_steps_per_s": self._updates * games * PLAYS / seconds} if self._updates > 0 else {}


def _log(run: trainer.Run, plan: Plan, done: int, margin: Array, told: tuple[Array, Array]) -> None:
    entropy, error = (float(each) for each in told)
    points = float(jnp.mean(margin))
    run.log(done, total=plan.sizes.updates, points=points, entropy=entropy, value_error=error)
    if not math.isfinite(entropy + error):
        raise SelfPlayDiverged(
            f"The network is no finite number at update {done} of {plan.sizes.updates}.",
            fix=f"lower learning_rate, which is {plan.options.learning_rate:g}.",
        )


def _finish(run: trainer.Run, plan: Plan, margin: np.ndarray[Any, Any], kept: Path, speed: dict[str, float]) -> None:
    seeds = np.arange(EVALUATION_SEED, EVALUATION_SEED + len(margin), dtype=np.int64)
    measured = {
        "points": float(margin.mean()),
        "win_rate": float((margin > 0).mean() + (margin == 0).mean() / 2),
        "share_of_points": float(0.5 + margin.mean() / (2 * HAND_POINTS)),
        "games": float(plan.sizes.games * plan.sizes.updates),
        **speed,
    }
    samples = {"example": seeds, "deal": seeds, "points": margin.astype(np.float64)}
    run.finish(measured, samples=samples, artifacts={"checkpoint": kept})


def _save(run: trainer.Run, plan: Plan, learnt: Learnt, done: int) -> Path:
    document = {"format": 1, "updates": done, "width": plan.sizes.width, "identity": plan.identity}

    def write(folder: Path) -> None:
        write_tensors(folder / STATE, named(learnt))
        (folder / TOLD).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    return run.checkpoint(done, write)


def _first_state(run: trainer.Run, plan: Plan) -> tuple[Learnt, int]:
    """Return where the run begins: at its own checkpoint, or with weights drawn by its seed."""
    fresh = begin(plan.sizes.width, seed=plan.seed)
    if run.resume is None:
        return fresh, 0
    folder = run.resume.checkpoint
    try:
        told: JSON = json.loads((folder / TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TreeDamaged(f"{folder / TOLD} cannot be read: {error}.", fix="start the run anew.") from error
    match told:
        case {"format": 1, "updates": int(done), "identity": plan.identity}:
            learnt: Learnt = filled(folder / STATE, fresh)
            return learnt, done
        case _:
            raise TreeDamaged(f"{folder} is no checkpoint of this very run.", fix="start the run anew.")
