"""`pilothouse campaign schedule`: when a ferry's next proposals are due."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, open_existing, print_json, say

if TYPE_CHECKING:
    from datetime import datetime

    from pilothouse.campaigns.ferry_definition import FerryDefinition
    from pilothouse.canonical import Json

TICKS_MAX = 100


def schedule(
    ctx: typer.Context,
    target: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="The campaign, or its file; may be left out.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=TICKS_MAX, help="How many of the next ticks.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Tell when a ferry's next proposals are due, in its own time zone and in UTC, and which ticks nobody heard."""
    definition, since, now = _found(ctx, target)
    table = definition.ferry.schedule
    if table is None:
        from pilothouse.errors import UsageError

        raise UsageError(
            f"campaign {definition.campaign.name} has no schedule",
            fix='give it [ferry.schedule] with cron = "0 6 * * *"; without one each start of the loop drafts one',
        )
    rules = table.schedule()
    due = None if since is None else rules.due(since=since, now=now)
    ticks: list[Json] = [
        {"utc": tick.isoformat(), "local": tick.astimezone(rules.zone).isoformat()}
        for tick in rules.upcoming(now, count=count)
    ]
    values: dict[str, Json] = {
        "campaign": definition.campaign.name,
        "cron": table.cron,
        "zone": table.zone,
        "due": None if due is None else due.tick.isoformat(),
        "missed": 0 if due is None else due.missed,
        "next": ticks,
    }
    if as_json:
        print_json(values)
        return
    say(f"campaign    {definition.campaign.name}: cron {table.cron!r} in {table.zone}")
    if due is not None:
        missed = f", and {due.missed} before it that have had no proposal" if due.missed else ""
        say(f"due         since {due.tick:%Y-%m-%d %H:%M}Z{missed}: one proposal answers them all")
    for tick in rules.upcoming(now, count=count):
        say(f"next        {tick.astimezone(rules.zone):%Y-%m-%d %H:%M %Z}   {tick:%Y-%m-%d %H:%M}Z")
    say("a tick opens a proposal; a launch waits for its approval")


def _found(ctx: typer.Context, target: str | None) -> tuple[FerryDefinition, datetime | None, datetime]:
    """Return the ferry, since when ticks are unanswered (None for a campaign that was never opened), and the time."""
    from pilothouse.campaigns.ferry import answered_until
    from pilothouse.campaigns.kinds import definition_of
    from pilothouse.cli.campaign import read_file
    from pilothouse.errors import NotFound
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.wiring.ferry_drafting import ferry_of
    from pilothouse.wiring.workspace import SystemClock

    read = ferry_of(read_file(Path(target))) if target is not None and target.endswith(".toml") else None
    name = target if read is None else read.campaign.name
    try:
        workspace = open_existing(ctx)
        with workspace.store.read() as tx:
            campaign = find_campaign(tx, workspace.product, name)
            ferries = tx.ferries.listed(campaign.product, campaign.name)
            since = answered_until(ferries, opened_at=campaign.created_at, now=workspace.clock.now())
    except NotFound:
        if read is None:
            raise
        return read, None, SystemClock().now()
    return read or ferry_of(definition_of(campaign.definition)), since, workspace.clock.now()
