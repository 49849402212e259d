"""The error rate that a trial is granted, from what the trials before it have spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.campaigns.sections import Decision
from pilothouse.evidence.stream import Ledger, ledger
from pilothouse.proposals.promotion import Confirmation

LEVEL_LEAST = 1e-12
"""A level below this is what rounding leaves of an error rate that is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The level of one trial, and the campaign's ledger before it; None where every trial is a question of its own."""

    level: float
    book: Ledger | None

    def spent(self) -> bool:
        """Whether nothing is left to judge at: the file has promised more before, or asked one question at a time."""
        return self.level < LEVEL_LEAST

    def after(self, spent: float) -> tuple[float, float]:
        """Return what is spent and what is left of the error rate when a trial has used `spent` of its level."""
        if self.book is None:
            return spent, self.level - spent
        book = self.book.charged(self.level) if spent > 0 else self.book
        return book.spent - book.regained, book.left


def grant_of(decision: Decision, trials: Sequence[Trial], *, number: int) -> Grant:
    """Return the grant of trial `number`: its share of the stream, or the rate of one comparison.

    A trial that could not be promoted, because it was screened out, was charged nothing. A promotion that fresh runs
    confirmed has given its level back. What was spent under an older promise counts in full, up to all there is.
    """
    if decision.mode == "single":
        return Grant(level=decision.alpha, book=None)
    book = ledger(promised=decision.promised)
    for trial in trials:
        if not 0 < trial.number < number or trial.verdict is None or trial.verdict.alpha == 0:
            continue
        # A promise that was lowered since may not cover what was granted under the old one.
        spent = min(trial.verdict.alpha, book.left)
        if spent <= 0:
            continue
        book = book.charged(spent)
        if trial.confirmation is not None and trial.confirmation.state is Confirmation.CONFIRMED:
            book = book.confirmed(spent)
    # Rounded down, so that the grants of one block are one design: each new level takes a second to work out.
    return Grant(level=_rounded(book.grant()), book=book)


def grants_ahead(decision: Decision, trials: Sequence[Trial]) -> tuple[Grant, ...]:
    """Return the grants that may be asked for next: the open trial's, and the next one's whatever comes of this.

    `trials` end with the one that is open, or that was judged last and may still be confirmed.
    """
    if not trials:
        return (grant_of(decision, trials, number=1),)
    last = trials[-1]
    is_open = last.state is TrialState.RUNNING
    now = grant_of(decision, trials, number=last.number if is_open else last.number + 1)
    if now.book is None or now.spent():
        return (now,)
    if is_open:
        charged = now.book.charged(now.level)
        books = [now.book, charged, charged.confirmed(now.level)]
    else:
        books = [now.book, now.book.confirmed(0.0 if last.verdict is None else last.verdict.alpha)]
    found = {level: Grant(level=level, book=book) for book in books if (level := _rounded(book.grant())) > 0}
    return tuple(found.values())


def _rounded(level: float) -> float:
    """Return the level cut to six digits."""
    if level <= 0:
        return 0.0
    scale = 10.0 ** (5 - math.floor(math.log10(level)))
    return math.floor(level * scale) / scale
