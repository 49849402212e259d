"""`pilothouse budget`: what a product, or one of its engines, may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pilothouse.cli.context import AsJson, print_json, say

if TYPE_CHECKING:
    from pilothouse.cli.ask import Reply

app = typer.Typer(help="What a product, or one of its engines, may use.", no_args_is_help=True)
Product = Annotated[str, typer.Argument(metavar="PRODUCT", help="The product whose budget it is.")]
EngineOption = Annotated[
    str | None, typer.Option("--engine", help="One engine's budget; the product's own by default.")
]
UNITS = ("usd", "gpu_hours", "tokens")


@app.command("list")
def list_budgets(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the budgets, and how each stands."""
    from pilothouse.cli.ask import ask
    from pilothouse.cli.table import print_table

    found = ask(ctx, "GET", "/fleet/budgets").value["budgets"]
    if as_json:
        print_json(found)
        return
    columns = ("product", "engine", "state", "enforced", *UNITS)
    print_table(columns, [each | {unit: _used(each, unit) for unit in UNITS} for each in found])


@app.command("show")
def show_budget(ctx: typer.Context, product: Product, engine: EngineOption = None, as_json: AsJson = False) -> None:
    """Show how a budget stands."""
    _show(_ask(ctx, "GET", product, engine=engine), as_json=as_json)


@app.command("set")
def set_budget(
    ctx: typer.Context,
    product: Product,
    engine: EngineOption = None,
    usd: Annotated[float | None, typer.Option("--usd", help="The most dollars in a window.")] = None,
    gpu_hours: Annotated[float | None, typer.Option("--gpu-hours", help="The most GPU-hours in a window.")] = None,
    tokens: Annotated[float | None, typer.Option("--tokens", help="The most tokens in a window.")] = None,
    window: Annotated[str, typer.Option("--window", help="How long a window is, such as 1d.")] = "1d",
    enforce: Annotated[
        bool, typer.Option("--enforce/--warn-only", help="Hold jobs back, or only raise alerts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set a budget's ceilings, all of them; one that is left out has no ceiling."""
    from pilothouse.errors import BadValue
    from pilothouse.fleet.duration import parse_duration

    try:
        seconds = parse_duration(window)
    except ValueError as error:
        raise BadValue(f"--window: {error}", fix="write it as 12h or 30d") from None
    body = {
        "usd": usd,
        "gpu_hours": gpu_hours,
        "tokens": tokens,
        "window_seconds": round(seconds),
        "enforced": enforce,
    }
    _show(_ask(ctx, "PUT", product, engine=engine, body=body), as_json=as_json)


@app.command("pause")
def pause_budget(
    ctx: typer.Context,
    product: Product,
    engine: EngineOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever asks is told.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let no more of a budget's jobs be claimed until it is resumed."""
    _show(_ask(ctx, "POST", product, "pause", engine=engine, body={"reason": reason}), as_json=as_json)


@app.command("resume")
def resume_budget(ctx: typer.Context, product: Product, engine: EngineOption = None, as_json: AsJson = False) -> None:
    """Let a budget's jobs be claimed again."""
    _show(_ask(ctx, "POST", product, "resume", engine=engine, body={}), as_json=as_json)


def _ask(ctx: typer.Context, method: str, product: str, *rest: str, engine: str | None, body: Any = None) -> Reply:
    from pilothouse.cli.ask import ask, path

    return ask(ctx, method, path("fleet", "budgets", product, *rest), body=body, query={"engine": engine})


def _show(reply: Reply, *, as_json: bool) -> None:
    value = reply.value
    if as_json:
        print_json(value)
        return
    whose = f"{value['product']}, engine {value['engine']}" if value["engine"] else value["product"]
    mode = "enforced" if value["enforced"] else "warns only"
    say(f"{whose}: {value['state']} ({mode}), window until {value['window']['ends_at']}")
    for unit in UNITS:
        say(f"  {unit:<10} {_used(value, unit)}")
    if value["paused"]:
        say(f"  paused by {value['paused']['by']}: {value['paused']['why']}")
    for alert in value["alerts"]:
        say(f"  {alert['kind']}: {alert['detail']}" + (" (dry run)" if alert["dry_run"] else ""))


def _used(value: dict[str, Any], unit: str) -> str:
    ceiling = value["ceiling"][unit]
    reserved = value["reserved"][unit]
    running = f" + {reserved:g} reserved" if reserved else ""
    return f"{value['spent'][unit]:g}{running} of {'no ceiling' if ceiling is None else f'{ceiling:g}'}"
