"""Self-play keeps the rules of the game, is a pure function of its seed, and resumes bit for bit."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from pilothouse import trainer
from pilothouse.programs.forty_two import rules
from pilothouse.programs.forty_two.self_play_game import (
    PLAYS,
    Deals,
    advance,
    by_chance,
    first_table,
    greedy,
    look,
    moment,
    play_out,
    random_deals,
)
from pilothouse.programs.forty_two.self_play_policy import Aim, Batch, Weights, initial, loss, play_batch, rate
from pilothouse.programs.forty_two.self_play_training import evaluation_deals, self_play_run
from pilothouse.trainer import OptionRefused, tree
from pilothouse.trainer.checkpoints import steps_in
from pilothouse.trainer.run import LEFT_EARLY

GAMES = 12
TINY = {"games": 4, "updates": 6, "width": 4, "evaluation_deals": 4, "checkpoint_every": 3, "compile_cache": ""}


def test_games_by_chance_follow_the_rules_to_the_last_point() -> None:
    """Whose move, what is legal, who takes the trick and what it is worth, of every play, as `rules` says it."""
    deals = random_deals(jax.random.key(3), GAMES)
    table, margin = first_table(deals), np.zeros(GAMES, dtype=int)
    plays: list[list[int]] = [[] for _ in range(GAMES)]
    leaders, expected = [0] * GAMES, np.zeros(GAMES, dtype=int)
    begin, step, chance = jax.jit(moment), jax.jit(advance), jax.jit(by_chance)
    held = np.asarray(deals.owners).tolist()
    hands = [[{each for each in range(28) if owners[each] == seat} for seat in range(4)] for owners in held]
    for play in range(PLAYS):
        now = begin(table, deals.declarations, jnp.asarray(play))
        domino = chance(now, jax.random.key(play))
        for game in range(GAMES):
            declaration, trick = int(deals.declarations[game]), plays[game][play // 4 * 4 :]
            seat = (leaders[game] + play % 4) % 4
            allowed = rules.legal(sorted(hands[game][seat]), trick[0] if trick else None, declaration)
            assert int(now.mover[game]) == seat
            assert set(np.flatnonzero(np.asarray(now.legal[game]))) == set(allowed)
            chosen = int(domino[game])
            hands[game][seat].remove(chosen)
            plays[game].append(chosen)
            if len(trick) == 3:
                full = [*trick, chosen]
                leaders[game] = (leaders[game] + rules.winner(full, declaration)) % 4
                expected[game] += rules.trick_points(full) * (1 if leaders[game] % 2 == 0 else -1)
        table, gained = step(now, domino)
        margin += np.asarray(gained)

    assert (margin == expected).all()
    assert (abs(margin) <= rules.HAND_POINTS).all()


def test_a_deal_is_four_hands_of_seven_and_the_fixed_ones_are_those_of_their_seeds() -> None:
    for deals in (random_deals(jax.random.key(0), 5), evaluation_deals(5)):
        counts = (np.asarray(deals.owners)[:, :, None] == np.arange(4)).sum(axis=1)
        assert (counts == 7).all()
    assert evaluation_deals(12).declarations.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_the_fixed_opponent_beats_chance_although_the_other_team_leads() -> None:
    """Over 200 deals by more than its own spread would give."""
    deals = evaluation_deals(200)
    margin = -np.asarray(jax.jit(lambda: play_out(deals, (by_chance, greedy), jax.random.key(1)))())

    assert margin.mean() > 6 * margin.std() / len(margin) ** 0.5


def test_a_player_does_not_see_the_other_hands() -> None:
    """Two deals that differ in what the others hold look alike to the leader."""
    owners = np.repeat(np.arange(4), 7).astype(np.int32)
    swapped = owners.copy()
    swapped[[7, 14]] = swapped[[14, 7]]
    deals = Deals(owners=jnp.asarray(np.stack([owners, swapped])), declarations=jnp.asarray([3, 3], jnp.int32))
    seen = jax.jit(lambda: look(moment(first_table(deals), deals.declarations, jnp.asarray(0))))()

    assert all(bool(jnp.array_equal(each[0], each[1])) for each in seen)


def test_the_gradient_raises_the_chance_of_what_turned_out_better_than_expected() -> None:
    """And leaves a play alone that has no other: its chance is one already."""
    weights = initial(4, seed=1)
    aim = Aim(jnp.float32(0), jnp.float32(0))

    @jax.jit
    def one_step(weights: Weights) -> tuple[Batch, Array, Array, Array, Array]:
        batch, margin = play_batch(weights, random_deals(jax.random.key(2), 8), jax.random.key(5))
        gradient = jax.grad(lambda each: loss(each, batch, aim)[0])(weights)
        better = jax.tree_util.tree_map(lambda old, way: old - 1e-2 * way, weights, gradient)
        logits, value = rate(weights, batch.seen)
        return batch, margin, jax.nn.log_softmax(logits), jax.nn.log_softmax(rate(better, batch.seen)[0]), value

    batch, margin, before, after, value = one_step(weights)
    rows = np.arange(len(batch.played))
    played = np.asarray(batch.played)
    change = np.asarray(after)[rows, played] - np.asarray(before)[rows, played]
    surprise = np.asarray(batch.outcome) - np.asarray(value)
    forced = np.asarray(batch.seen.legal).sum(axis=1) == 1

    assert (change * (surprise - surprise.mean()))[~forced].mean() > 0
    assert np.allclose(change[forced], 0, atol=1e-6)
    assert np.allclose(np.asarray(batch.outcome).reshape(PLAYS, 8)[0] * rules.HAND_POINTS, np.asarray(margin))


# --- a run


def prepared(folder: Path, *, seed: int = 7, resume: dict[str, Any] | None = None, **config: Any) -> Path:
    """Return a run folder with its order."""
    folder.mkdir()
    order = {"run": "r", "seed": seed, "attempt": 1, "resume": resume, "inputs": {}}
    (folder / "run.json").write_text(json.dumps(order), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({**TINY, **config}), encoding="utf-8")
    return folder


def summary_of(folder: Path) -> dict[str, Any]:
    """Return the metrics of a finished run, without what depends on the clock."""
    metrics: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["metrics"]
    return {name: value for name, value in metrics.items() if name != "env_steps_per_s"}


def test_a_run_that_was_stopped_ends_with_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    """And another seed ends elsewhere."""
    whole, other, first = (prepared(tmp_path / name, seed=seed) for name, seed in (("w", 7), ("o", 8), ("f", 7)))
    for folder in (whole, other):
        with trainer.start(folder=folder) as run:
            self_play_run(run)
    stopped = pytest.raises(SystemExit, match=str(LEFT_EARLY))
    with stopped, trainer.start(folder=first) as run:
        run._on_term(15, None)
        self_play_run(run)
    ((step, checkpoint),) = steps_in(first / "checkpoints").items()
    assert step == 1

    again = prepared(tmp_path / "a", resume={"checkpoint": str(checkpoint), "step": step})
    with trainer.start(folder=again) as run:
        self_play_run(run)

    ends = [tree.read_manifest(steps_in(folder / "checkpoints")[6]).digest for folder in (whole, again, other)]
    assert ends[0] == ends[1] != ends[2]
    assert summary_of(whole) == summary_of(again)
    assert {"points", "win_rate"} < summary_of(whole).keys()


def test_a_checkpoint_of_another_run_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    made = prepared(tmp_path / "m", updates=1, checkpoint_every=1)
    with trainer.start(folder=made) as run:
        self_play_run(run)
    resume = {"checkpoint": str(steps_in(made / "checkpoints")[1]), "step": 1}
    folder = prepared(tmp_path / "n", seed=9, updates=1, checkpoint_every=1, resume=resume)

    with (
        pytest.raises(trainer.TreeDamaged, match="no checkpoint of this very run"),
        trainer.start(folder=folder) as run,
    ):
        self_play_run(run)


def test_an_option_out_of_range_is_refused(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "x", entropy=2)

    with pytest.raises(OptionRefused, match="entropy"), trainer.start(folder=folder) as run:
        self_play_run(run)
