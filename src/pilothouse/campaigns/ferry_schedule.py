"""When a ferry is due: cron's five fields in a time zone, with the ticks that went by without a proposal.

Around a change of the clocks cron's own rule holds (`cronsim` follows Debian's): a fixed time that the clocks skip
comes right after the gap, and one that they show twice comes once. Every instant that leaves this module is in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from pilothouse.errors import BadValue

MISSED_MAX = 1000
"""Ticks that are counted one by one; a longer absence is told as more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A proposal is due: the newest tick that has come, and how many before it have had no proposal either."""

    tick: datetime
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron expression in a time zone."""

    cron: str
    zone: ZoneInfo

    @classmethod
    def read(cls, cron: str, *, zone: str) -> Schedule:
        """Return the schedule; raise `BadValue` for what is no cron expression, and no time zone."""
        try:
            known = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadValue(f"{zone!r} is no time zone", fix="write one such as UTC or Europe/Berlin") from error
        if len(cron.split()) != len(("minute", "hour", "day", "month", "weekday")):
            raise BadValue(
                f"cron {cron!r} has {len(cron.split())} fields, not 5", fix='write "0 6 * * *" for 06:00 each day'
            )
        try:
            CronSim(cron, datetime(2000, 1, 1, tzinfo=known))
        except CronSimError as error:
            raise BadValue(f"cron {cron!r}: {error}", fix='write "0 6 * * *" for 06:00 each day') from error
        return cls(cron=cron, zone=known)

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """Yield the ticks behind an instant, in UTC."""
        # The expression has passed `read`; one that has no tick in the next decades ends the iterator.
        for tick in CronSim(self.cron, after.astimezone(self.zone)):
            yield tick.astimezone(UTC)

    def upcoming(self, now: datetime, *, count: int) -> tuple[datetime, ...]:
        """Return the next ticks."""
        return tuple(islice(self.ticks(now), count))

    def due(self, *, since: datetime, now: datetime) -> Due | None:
        """Return the newest tick after `since` that has come, or None; however many have, one proposal answers all."""
        newest: datetime | None = None
        count = 0
        for tick in self.ticks(since):
            if tick > now:
                break
            newest, count = tick, count + 1
            if count > MISSED_MAX:
                newest = self._last(now)
                break
        return None if newest is None else Due(tick=newest, missed=count - 1)

    def day(self, at: datetime) -> date:
        """Return the date of an instant where the schedule lives; it stamps the run's name."""
        return at.astimezone(self.zone).date()

    def _last(self, now: datetime) -> datetime:
        """Return the newest tick that has come, counted backwards."""
        start = (now + timedelta(minutes=1)).astimezone(self.zone)
        found = next(tick for tick in CronSim(self.cron, start, reverse=True) if tick.astimezone(UTC) <= now)
        return found.astimezone(UTC)
