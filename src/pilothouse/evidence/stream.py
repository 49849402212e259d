"""Error spent across a campaign's proposals, so a night of a hundred keeps its promise.

A campaign may promote at most `promised` changes that are none, in expectation, however many proposals it tries. Block
b of a hundred proposals shares 0.9 · 0.1^b of that: 0.09 for the first hundred, 0.009 for the next, so the sum never
exceeds it, and the first proposal of a night is judged as sharply as the hundredth. The bound is the sum of the
levels, so it holds whatever the dependence between proposals that share a baseline arm.

A promotion that fresh runs confirm gives its own level back (what was spent on a true change bought no error), as in
the alpha-investing of Foster and Stine (Journal of the Royal Statistical Society B 70, 2008), but never more than was
spent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pilothouse.errors import BadValue
from pilothouse.evidence.protocol import PROMISED

BLOCK = 100
FIRST_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What a campaign has spent of the false promotions that it may expect.

    `regained` is what confirmed changes gave back and no later level has used; `given_back` is all that they ever did.
    """

    promised: float = PROMISED
    proposals: int = 0
    spent: float = 0.0
    regained: float = 0.0
    given_back: float = 0.0

    @property
    def left(self) -> float:
        """What may still be spent."""
        return self.promised - self.spent + self.regained

    @property
    def charged_in_all(self) -> float:
        """The sum of the levels at which proposals were judged, before anything was given back."""
        return self.spent - self.regained + self.given_back

    def grant(self) -> float:
        """Return the level of the next proposal."""
        block = self.proposals // BLOCK
        level = self.promised * FIRST_SHARE * (1 - FIRST_SHARE) ** block / BLOCK
        # What confirmed changes gave back is spread over the proposals that this block still has.
        extra = self.regained / (BLOCK - self.proposals % BLOCK)
        return min(level + extra, self.left)

    def charged(self, level: float) -> Ledger:
        """Return the ledger after a proposal was judged at the level that was granted."""
        if not 0 < level <= self.left + 1e-15:
            raise BadValue(f"a level of {level!r} was never granted", fix=f"spend at most {self.left:.3g}")
        extra = self.regained / (BLOCK - self.proposals % BLOCK)
        return replace(
            self, proposals=self.proposals + 1, spent=self.spent + level - extra, regained=self.regained - extra
        )

    def confirmed(self, level: float) -> Ledger:
        """Return the ledger after fresh runs confirmed the change that was promoted at this level."""
        return replace(self, regained=self.regained + level, given_back=self.given_back + level)


def ledger(*, promised: float = PROMISED) -> Ledger:
    """Return a new ledger; `promised` is the expected number of false promotions, above 0 and at most 1."""
    if not 0 < promised <= 1:
        raise BadValue(
            f"{promised!r} promised false promotions", fix="give a number above 0 and at most 1, such as 0.1"
        )
    return Ledger(promised=promised)
