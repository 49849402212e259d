"""Positions as the network reads them: 32 tokens of 12 small integers, and what a perfect player would do there.

Token 0 is the context, 1-28 are the four hands in seat order (seven slots each, in the order of the sorted hand, played
dominoes included), 29-31 are the dominoes in the trick. A token has the features

    0 high pip, 1 low pip, 2 is a double, 3 counter (0, 1 for five points, 2 for ten), 4 trump rank (7: no trump),
    5 seat relative to the mover, 6 is the mover's, 7 is the partner's, 8 is still in hand,
    9 kind (0 context, 1-4 hand of seat 0-3, 5-7 first to third play), 10 declaration, 11 leader relative to the mover

The context has only the features 9, 10 and 11; a play that has not happened is all zeros and masked out. Everything is
int8. Positions without a legal move, which end a hand, teach nothing and are left out.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.forty_two.deal import deal_hands
from pilothouse.programs.forty_two.packing import Positions, unpack
from pilothouse.programs.forty_two.rules import COUNTERS, DOUBLE, HAND, ILLEGAL, PIPS, SEATS, TRUMP_RANK, Bytes
from pilothouse.programs.forty_two.shards import Shard

Column: TypeAlias = NDArray[np.int8] | NDArray[np.int64]

TOKENS: Final = 32
FEATURES: Final = 12
VOCABULARY: Final = (7, 7, 2, 3, 8, 4, 2, 2, 2, 8, 10, 4)
"""How many values each feature takes."""

FORMAT_VERSION: Final = 1
"""Raised whenever the same shard would give other rows; it is part of every digest."""

KIND: Final = 9
_FIRST_PLAY_TOKEN = 1 + SEATS * HAND
_FIRST_PLAY_KIND = 5
_PLAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRows:
    """Tokenised positions, one per row; every column has the same length n."""

    tokens: Bytes
    """int8[n, 32, 12]"""
    masks: Bytes
    """int8[n, 32]: 1 where the token is there."""
    targets: Bytes
    """int8[n]: the first slot with the best value for the mover."""
    legal: Bytes
    """int8[n, 7]: 1 where the mover's slot may be played."""
    qvals: Bytes
    """int8[n, 7]: value of each move for team 0 in points; -128 where illegal."""
    teams: Bytes
    """int8[n]: the mover's team."""
    players: Bytes
    """int8[n]: the mover's seat."""
    values: Bytes
    """int8[n]: points to go, team 0 minus team 1."""
    declaration: Bytes
    """int8[n]"""
    left: Bytes
    """int8[n]: dominoes left in the four hands together, 28 to 1."""
    deal: NDArray[np.int64]
    """int64[n]: the seed of the deal, by which rows are clustered."""
    state: NDArray[np.int64]
    """int64[n]: the packed position."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.state)

    def columns(self) -> Iterator[tuple[str, Column]]:
        """Yield name and array of each column, in the fixed order of the digest."""
        for field in fields(self):
            yield field.name, getattr(self, field.name)

    def chosen(self, keep: NDArray[np.bool_]) -> "TokenRows":
        """Return the rows for which bool[n] `keep` is true, in order."""
        return from_columns({name: column[keep] for name, column in self.columns()})


COLUMNS: Final = tuple(field.name for field in fields(TokenRows))


def tokenise(shard: Shard) -> TokenRows:
    """Turn the positions of a shard that have a legal move into token rows, in the shard's order."""
    playable = np.any(shard.q != ILLEGAL, axis=1)
    state, q = shard.state[playable], shard.q[playable]
    positions = unpack(state)
    mover = positions.mover
    legal = q != ILLEGAL
    wide = q.astype(np.int16)
    signed = np.where(mover[:, None] % 2 == 0, wide, -wide)
    tokens = _tokens(deal_hands(shard.seed), positions, shard.declaration)
    masks = np.ones(tokens.shape[:2], dtype=np.int8)
    masks[:, _FIRST_PLAY_TOKEN:] = positions.trick_len[:, None] > np.arange(_PLAYS)
    return TokenRows(
        tokens=tokens,
        masks=masks,
        targets=np.where(legal, signed, np.int16(ILLEGAL - 1)).argmax(axis=1).astype(np.int8),
        legal=legal.astype(np.int8),
        qvals=q.astype(np.int8),
        teams=(mover % 2).astype(np.int8),
        players=mover.astype(np.int8),
        values=shard.v[playable].astype(np.int8),
        declaration=np.full(len(state), shard.declaration, dtype=np.int8),
        left=positions.left.astype(np.int8),
        deal=np.full(len(state), shard.seed, dtype=np.int64),
        state=state.astype(np.int64),
    )


def from_columns(columns: Mapping[str, Any]) -> TokenRows:
    """Make rows of columns by name."""
    return TokenRows(**columns)


def concatenate(parts: Sequence[TokenRows]) -> TokenRows:
    """Join rows in the given order; at least one part."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return from_columns(columns)


def content_digest(rows: TokenRows) -> str:
    """Return the SHA-256 (hex) of every column in order, little-endian, under the format version."""
    digest = hashlib.sha256(f"forty-two tokens {FORMAT_VERSION} {len(rows)}\n".encode())
    for name, column in rows.columns():
        digest.update(f"{name} {column.dtype.itemsize} {column.shape}\n".encode())
        digest.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _domino_features(dominoes: Bytes, declaration: int) -> Bytes:
    """Return features 0 to 4 of dominoes: int8[..., 5]."""
    features = np.empty((*dominoes.shape, 5), dtype=np.int8)
    features[..., :2] = PIPS[dominoes]
    features[..., 2] = DOUBLE[dominoes]
    features[..., 3] = COUNTERS[dominoes] // 5
    features[..., 4] = TRUMP_RANK[declaration, dominoes]
    return features


def _tokens(hands: Bytes, positions: Positions, declaration: int) -> Bytes:
    mover = positions.mover
    rows = len(mover)
    tokens = np.zeros((rows, TOKENS, FEATURES), dtype=np.int8)
    tokens[:, :, 10] = declaration
    tokens[:, :, 11] = ((positions.leader - mover) % SEATS)[:, None]
    held = tokens[:, 1:_FIRST_PLAY_TOKEN].reshape(rows, SEATS, HAND, FEATURES)
    held[..., :5] = _domino_features(hands, declaration)
    _set_seat(held, ((np.arange(SEATS) - mover[:, None]) % SEATS)[..., None])
    held[..., 8] = positions.hands[..., None] >> np.arange(HAND) & 1
    held[..., KIND] = np.arange(1, 1 + SEATS)[:, None]
    tokens[:, 1:_FIRST_PLAY_TOKEN] = held.reshape(rows, SEATS * HAND, FEATURES)
    for place in range(_PLAYS):
        _set_play(tokens[:, _FIRST_PLAY_TOKEN + place], hands, positions, declaration, place)
    return tokens


def _set_play(play: Bytes, hands: Bytes, positions: Positions, declaration: int, place: int) -> None:
    """Fill int8[n, 12] with the play at `place` of each trick, zeros where it has not happened."""
    there = positions.trick_len > place
    seat = (positions.leader + place) % SEATS
    dominoes = hands[seat, np.where(there, positions.plays[:, place], 0)]
    play[:, :5] = _domino_features(dominoes, declaration)
    _set_seat(play, (seat - positions.mover) % SEATS)
    play[:, KIND] = _FIRST_PLAY_KIND + place
    play[~there] = 0


def _set_seat(tokens: Bytes, relative: Bytes) -> None:
    tokens[..., 5] = relative
    tokens[..., 6] = relative == 0
    tokens[..., 7] = relative == 2
