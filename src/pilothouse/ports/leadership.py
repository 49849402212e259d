"""Which of several servers on one database writes to it.

The lead has an epoch that only grows, and time is the database's own. Once a store has led, each of its writing
transactions checks inside itself that its epoch still leads; a deposed leader gets `LeaseLost`, and nothing of its
transaction is kept. Whoever takes the lead sees every write that was made under the lead before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, Protocol

LeaderEpoch = NewType("LeaderEpoch", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads; `seconds` is how long the lead still lasts by the database's clock, and may lie below zero."""

    holder: str
    epoch: LeaderEpoch
    seconds: float


class Leadership(Protocol):
    """The lead over a database, as one server tries to get and to keep it."""

    def lead(self, holder: str, *, seconds: float) -> LeaderEpoch | None:
        """Take the lead for some seconds under a new epoch; None while another holder has it.

        The holder names one boot of one server. Asked again by the holder that leads, it answers with a new epoch.
        """
        ...

    def renew_lead(self, *, seconds: float) -> bool:
        """Keep the lead for some seconds from now; False when it is lost."""
        ...

    def resign(self) -> None:
        """Give the lead up, if it is still ours; the next holder need not wait for its end."""
        ...

    def leader(self) -> Leader | None:
        """Return who leads, also when the time is over and nobody has taken the lead yet."""
        ...
