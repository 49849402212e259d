"""How fast one may write to a channel, told from the times of the writes before.

The windows slide: a limit of 80 in a minute holds for every minute, not only for those of the wall clock. Each is a
little longer than the forge's own, since a write arrives later than it is begun, and not always equally late.

Times are seconds of a clock that never goes back, since the one on the wall may be set at any moment. What an earlier
process has left on record was told by the wall, and `taken_over` reads it as strictly as it can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

SLACK_SECONDS = 30.0
"""By how much a write may arrive later than another; no request may take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `writes` in any stretch of `seconds`."""

    writes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The limits of a channel, and the seconds between the end of one write and the begin of the next."""

    limits: tuple[Limit, ...] = ()
    apart_seconds: float = 0.0

    @property
    def memory_seconds(self) -> float:
        """How far back writes have to be remembered."""
        return max((limit.seconds + SLACK_SECONDS for limit in self.limits), default=self.apart_seconds)


GITHUB_PACE = Pace(limits=(Limit(writes=80, seconds=60), Limit(writes=500, seconds=3600)), apart_seconds=1.0)
"""What GitHub asks of whoever makes content."""
DISCORD_PACE = Pace(limits=(Limit(writes=25, seconds=60),), apart_seconds=0.5)
"""A webhook's own bucket is told by each answer; this keeps clear of the limit of 30 messages a minute in a channel."""


def earliest(pace: Pace, begun: Sequence[float], *, ended: float | None, now: float) -> float:
    """Return when the next write may begin; `begun` are the earlier ones, oldest first, `ended` the end of the last."""
    times = [
        now,
        *(begun[-limit.writes] + limit.seconds + SLACK_SECONDS for limit in pace.limits if len(begun) >= limit.writes),
    ]
    if begun:
        times.append(begun[-1] + pace.apart_seconds)
    if ended is not None:
        times.append(ended + pace.apart_seconds)
    return max(times)


def taken_over(recorded: Sequence[datetime], *, now: float) -> list[float]:
    """Return when recorded writes count as begun, oldest first: the newest now, and the others as long before it.

    How long nobody has written is told by the wall clock alone, which may have been set in the meantime; so that time
    counts for nothing. Between the writes of one process its postman has held the record against the other clock.
    """
    newest = max(recorded, default=None)
    return [] if newest is None else [now - (newest - each).total_seconds() for each in sorted(recorded)]
