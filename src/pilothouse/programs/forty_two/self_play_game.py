"""Thousands of hands of 42 side by side: every array has one row a game, and one play moves all of them on.

The rules come from `rules` as tables, so there is one statement of them. A player sees its own hand and what has been
played, not the other hands. All games are of 28 plays, so a whole batch is one scan without a branch.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pilothouse.programs.forty_two.rules import (
    COUNTERS,
    DECLARATIONS,
    DOMINOES,
    FOLLOWS,
    HAND,
    LED_SUIT,
    SEATS,
    TRICK_RANK,
    TRUMP,
)

PLAYS: Final = DOMINOES
GONE: Final = SEATS
"""The owner of a domino that has been played."""
OUTSIDE: Final = SEATS
"""The seat of a domino that does not lie in the trick."""
RANK_UNIT: Final = 48.0
"""Above every rank in a trick."""
COUNTER_UNIT: Final = 10.0
DOMINO_FEATURES: Final = 11
CONTEXT_FEATURES: Final = DECLARATIONS + SEATS + 4 + 2 * DOMINOES

_FOLLOWS = jnp.asarray(FOLLOWS)
_LED_SUIT = jnp.asarray(LED_SUIT, jnp.int32)
_RANK = jnp.asarray(TRICK_RANK, jnp.int32)
_COUNTERS = jnp.asarray(COUNTERS, jnp.int32)
_TRUMP = jnp.asarray(TRUMP)


class Deals(NamedTuple):
    """What is fixed before the first play."""

    owners: Array
    """int32[n, 28]: the seat that was dealt each domino."""
    declarations: Array
    """int32[n]"""


class Table(NamedTuple):
    """What has happened so far."""

    owners: Array
    """int32[n, 28]: who holds each domino, GONE where it has been played."""
    trick: Array
    """int32[n, 28]: who has played a domino into this trick, OUTSIDE for all others."""
    leader: Array
    suit: Array
    best_rank: Array
    best_seat: Array
    points: Array
    """int32[n] each: of this trick its leader, led suit, best rank so far with its seat, and its counters."""


class Seen(NamedTuple):
    """What the mover sees."""

    dominoes: Array
    """float32[n, 28, DOMINO_FEATURES]"""
    context: Array
    """float32[n, CONTEXT_FEATURES]"""
    legal: Array
    """bool[n, 28]"""


class Moment(NamedTuple):
    """One play of each game, before it is made."""

    table: Table
    declarations: Array
    position: Array
    """int32: 0 leads the trick."""
    mover: Array
    legal: Array
    ranks: Array
    """int32[n, 28]: the rank that each domino would have in this trick."""


Policy = Callable[[Moment, Array], Array]
"""Takes a moment and a key, and gives the domino that is played in each game, int32[n]."""


def random_deals(key: Array, games: int) -> Deals:
    """Deal by chance, under declarations by chance."""
    shuffling, declaring = jax.random.split(key)
    places = jnp.argsort(jax.random.uniform(shuffling, (games, DOMINOES)), axis=1)
    declarations = jax.random.randint(declaring, (games,), 0, DECLARATIONS)
    return Deals(owners=places.astype(jnp.int32) // HAND, declarations=declarations)


def first_table(deals: Deals) -> Table:
    """Seat 0 leads the first trick."""
    games = len(deals.declarations)
    none = jnp.zeros(games, jnp.int32)
    outside = jnp.full((games, DOMINOES), OUTSIDE, jnp.int32)
    return Table(deals.owners, outside, none, none, none, none, none)


def moment(table: Table, declarations: Array, play: Array) -> Moment:
    """Say whose move it is and what may be played: play number `play`, from 0."""
    position = play % SEATS
    mover = (table.leader + position) % SEATS
    own = table.owners == mover[:, None]
    following = own & _FOLLOWS[declarations, table.suit]
    must = jnp.any(following, axis=1, keepdims=True) & (position > 0)
    led = _LED_SUIT[declarations]
    leading = jnp.take_along_axis(_RANK[declarations], led[:, None, :], axis=1)[:, 0]
    ranks = jnp.where(position == 0, leading, _RANK[declarations, table.suit])
    return Moment(table, declarations, position, mover, jnp.where(must, following, own), ranks)


def advance(now: Moment, domino: Array) -> tuple[Table, Array]:
    """Make the plays; return the new table and the points that team 0 gains on team 1, int32[n]."""
    table, leads, ends = now.table, now.position == 0, now.position == SEATS - 1
    chosen = jnp.arange(DOMINOES) == domino[:, None]
    rank = _at(now.ranks, domino)
    takes = leads | (rank > table.best_rank)
    best_seat = jnp.where(takes, now.mover, table.best_seat)
    points = jnp.where(leads, 0, table.points) + _COUNTERS[domino]
    trick = jnp.where(chosen, now.mover[:, None], jnp.where(leads, OUTSIDE, table.trick))
    after = Table(
        owners=jnp.where(chosen, GONE, table.owners),
        trick=jnp.where(ends, OUTSIDE, trick),
        leader=jnp.where(ends, best_seat, table.leader),
        suit=jnp.where(leads, _LED_SUIT[now.declarations, domino], table.suit),
        best_rank=jnp.where(takes, rank, table.best_rank),
        best_seat=best_seat,
        points=points,
    )
    gained = jnp.where(ends, (points + 1) * _sign(best_seat), 0)
    return after, gained


def look(now: Moment) -> Seen:
    """Return what the mover sees, its own seat always being 0."""
    table, mover = now.table, now.mover[:, None]
    beats = (now.ranks > table.best_rank[:, None]) | (now.position == 0)
    relative = jnp.where(table.trick == OUTSIDE, 0, (table.trick - mover) % SEATS)
    own, gone = table.owners == mover, table.owners == GONE
    columns = (
        own,
        now.legal,
        gone,
        relative == 1,
        relative == 2,
        relative == SEATS - 1,
        now.ranks / RANK_UNIT,
        beats,
        jnp.broadcast_to(_COUNTERS / COUNTER_UNIT, own.shape),
        _TRUMP[now.declarations],
        _FOLLOWS[now.declarations, table.suit] & (now.position > 0),
    )
    partner_wins = (table.best_seat == (now.mover + 2) % SEATS) & (now.position > 0)
    tricks_left = jnp.sum(own, axis=1) / HAND
    leads = now.position == 0
    numbers = jnp.stack(
        [
            partner_wins.astype(jnp.float32),
            jnp.where(leads, 0, table.points) / COUNTER_UNIT,
            jnp.where(leads, 0, table.best_rank) / RANK_UNIT,
            tricks_left,
        ],
        axis=1,
    )
    games = len(now.declarations)
    context = (
        jax.nn.one_hot(now.declarations, DECLARATIONS),
        jnp.broadcast_to(jax.nn.one_hot(now.position, SEATS), (games, SEATS)),
        numbers,
        own,
        gone,
    )
    dominoes = jnp.stack([column.astype(jnp.float32) for column in columns], axis=2)
    return Seen(dominoes, jnp.concatenate([part.astype(jnp.float32) for part in context], axis=1), now.legal)


def greedy(now: Moment, key: Array) -> Array:
    """Play as the fixed opponent does: lead the strongest, and take a trick with the strongest where that is possible.

    Behind a partner who is winning it throws counters; where it cannot win it throws away its least.
    """
    del key
    table = now.table
    leads = now.position == 0
    beats = (now.ranks > table.best_rank[:, None]) | leads
    partner_wins = ((table.best_seat == (now.mover + 2) % SEATS) & ~leads)[:, None]
    counters = jnp.broadcast_to(_COUNTERS, now.ranks.shape)
    cheap = -(counters * RANK_UNIT + now.ranks)
    helping = counters * RANK_UNIT - now.ranks
    taking = jnp.where(beats, _ABOVE + now.ranks, cheap)
    worth = jnp.where(partner_wins, helping, taking)
    return jnp.argmax(jnp.where(now.legal, worth, -jnp.inf), axis=1)


_ABOVE: Final = 1e4


def by_chance(now: Moment, key: Array) -> Array:
    """Play any legal domino, each as likely as the others."""
    return jax.random.categorical(key, jnp.where(now.legal, 0.0, -jnp.inf))


def play_out(deals: Deals, policies: tuple[Policy, Policy], key: Array) -> Array:
    """Play every game to its end, team 0 by the first policy and team 1 by the second.

    Returns float32[n]: the points of team 0 less those of team 1.
    """

    def one_play(state: tuple[Table, Array], play: Array) -> tuple[tuple[Table, Array], None]:
        table, margin = state
        now = moment(table, deals.declarations, play)
        luck = jax.random.fold_in(key, play)
        first, second = (policy(now, luck) for policy in policies)
        table, gained = advance(now, jnp.where(now.mover % 2 == 0, first, second))
        return (table, margin + gained), None

    margin = jnp.zeros(len(deals.declarations), jnp.int32)
    (_, margin), _ = jax.lax.scan(one_play, (first_table(deals), margin), jnp.arange(PLAYS))
    return margin.astype(jnp.float32)


def _sign(seat: Array) -> Array:
    """Give 1 for the seats of team 0, -1 for the others."""
    return 1 - 2 * (seat % 2)


def _at(values: Array, domino: Array) -> Array:
    return jnp.take_along_axis(values, domino[:, None], axis=1)[:, 0]
