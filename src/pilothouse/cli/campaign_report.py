"""`pilothouse campaign report`: what a campaign over seeds has brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pilothouse.cli.context import AsJson, open_existing, print_json, say

if TYPE_CHECKING:
    from pilothouse.canonical import Json

    Row = Mapping[str, Json]


def report(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The campaign; may be left out if there is one.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write the progress plot to this file, as SVG.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell the best config with its interval, everything that was tried, and what it has cost."""
    from pilothouse.campaigns.report import report_json
    from pilothouse.operations.campaign_report import campaign_plot, campaign_report
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.wiring.workspace import write_text

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, name)
        record = campaign_report(tx, campaign)
        drawn = campaign_plot(tx, campaign, record.definition) if plot is not None else ""
    values = report_json(record)
    if plot is not None:
        write_text(plot, drawn)
    values["plot"] = str(plot if plot is not None else workspace.pages(campaign).plot)
    if as_json:
        print_json(values)
    else:
        _show(values)


def _show(values: Row) -> None:
    from pilothouse.cli.table import print_table, shown

    say(f"campaign  {values['campaign']} (product {values['product']})")
    for line in _best_words(cast("Row", values["best"])):
        say(line)
    alpha, cost = cast("Row", values["alpha"]), cast("Row", values["cost"])
    if alpha["spent"] is not None:
        charged, returned, promised, left = (
            shown(alpha[word]) for word in ("charged", "given_back", "promised", "left")
        )
        back = f", {returned} of it given back by confirmed promotions" if alpha["given_back"] else ""
        say(f"alpha     {charged} charged{back}; {left} left of {promised} promised")
    say(f"cost      {shown(cost['hours'])} h, {shown(cost['gpu_hours'])} GPU h, USD {shown(cost['usd'])}")
    say(f"plot      {values['plot']}")
    say("")
    trials = cast("Sequence[Row]", values["trials"])
    print_table(
        ("trial", "source", "changes", "verdict", "seeds", "gain", "p", "kept"), [_trial_row(row) for row in trials]
    )
    say("")
    sources = cast("Mapping[str, Row]", values["sources"])
    columns = ("source", "proposals", "refused", "kept", "regressed", "failed", "mean_gain")
    print_table(columns, [{"source": source, **row} for source, row in sources.items()])
    agents = cast("Mapping[str, Row]", values["agents"])
    if agents:
        say("")
        told = ("agent", "runs", "level", "turns", "tokens_in", "tokens_out", "usd", "incidents")
        print_table(told, [_agent_row(source, row) for source, row in agents.items()])


def _agent_row(source: str, row: Row) -> dict[str, Json]:
    kinds = cast("Mapping[str, int]", row["incidents"])
    told = {name: "unknown" if row[name] is None else row[name] for name in ("turns", "tokens_in", "tokens_out", "usd")}
    return {
        "agent": source,
        "runs": row["runs"],
        "level": ", ".join(cast("Sequence[str]", row["levels"])),
        "incidents": ", ".join(f"{kind} {count}" for kind, count in kinds.items()) or "none",
        **told,
    }


def _best_words(best: Row) -> list[str]:
    from pilothouse.cli.table import shown

    changes = cast("Sequence[Row]", best["changes"])
    lines = [f"best      {_changes_words(changes) or 'the config that it began with'} (trial {best['trial']})"]
    if "difference" in best:
        low, high = cast("Sequence[float]", best["interval"])
        first, last = (shown(count) for count in cast("Sequence[Json]", best["runs"]))
        lines.append(
            f"          {best['metric']} {shown(best['first'])} → {shown(best['best'])}: change "
            f"{cast('float', best['difference']):+.4g} [{low:+.4g}, {high:+.4g}] over {first} and {last} runs"
        )
    return lines


def _trial_row(row: Row) -> dict[str, Json]:
    verdict = cast("Row | None", row["verdict"]) or {}
    confirmation = cast("Row | None", row["confirmation"]) or {}
    shrunk = verdict.get("shrunk_difference")
    return {
        "trial": row["number"],
        "source": row["source"],
        "changes": _changes_words(cast("Sequence[Row]", row["changes"])) or "none",
        "verdict": row["failure"] or verdict.get("outcome") or row["state"],
        "seeds": verdict.get("candidate_runs"),
        "gain": confirmation.get("gain") if confirmation.get("gain") is not None else _gain(shrunk, verdict),
        "p": verdict.get("p"),
        "kept": row["kept"],
    }


def _gain(shrunk: Json, verdict: Row) -> Json:
    """Return the gain, None where no look has told any: the interval is unbounded there."""
    unknown = verdict.get("interval") == [None, None]
    if not isinstance(shrunk, float | int) or not verdict.get("alpha") or unknown:
        return None
    return -shrunk if verdict.get("direction") == "min" else shrunk


def _changes_words(changes: Sequence[Row]) -> str:
    from pilothouse.cli.table import shown

    return ", ".join(f"{each['knob']} {shown(each['before'])} → {shown(each['after'])}" for each in changes)
