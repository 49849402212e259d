"""Deals: a seed names four hands of seven dominoes, on every platform and Python version the same."""

import random

import numpy as np

from pilothouse.programs.forty_two.rules import DECLARATIONS, DOMINOES, HAND, SEATS, Bytes

SEED_MAX = 2**31 - 1


class DealError(ValueError):
    """A seed or declaration that names no deal."""


def checked_seed(seed: int) -> int:
    """Return the seed, or raise `DealError` naming the range: Python's shuffle would take -5 for 5."""
    if not 0 <= seed <= SEED_MAX:
        message = f"seed {seed} is outside 0 to {SEED_MAX}; give a seed in that range"
        raise DealError(message)
    return seed


def checked_declaration(declaration: int) -> int:
    """Return the declaration, or raise `DealError` naming the range."""
    if not 0 <= declaration < DECLARATIONS:
        message = (
            f"declaration {declaration} is outside 0 to {DECLARATIONS - 1}; "
            "0-6 name a trump pip, 7 doubles trump, 8 doubles suit, 9 no trump"
        )
        raise DealError(message)
    return declaration


def deal_hands(seed: int) -> Bytes:
    """Return int8[4, 7]: the domino ids of each seat, ascending; a position in a row is the domino's local index."""
    dominoes = list(range(DOMINOES))
    random.Random(checked_seed(seed)).shuffle(dominoes)  # noqa: S311  a named deal, not a secret
    return np.sort(np.array(dominoes, dtype=np.int8).reshape(SEATS, HAND), axis=1)
