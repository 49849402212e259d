"""`pilothouse fleet settings` and `fleet configure`: how a product's jobs are placed and preempted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pilothouse.cli.context import AsJson, print_json, say

Product = Annotated[str, typer.Argument(metavar="PRODUCT", help="The product whose settings they are.")]


def show_settings(ctx: typer.Context, product: Product, as_json: AsJson = False) -> None:
    """Show how a product's jobs are placed and preempted."""
    from pilothouse.cli.ask import ask, path

    _show(product, ask(ctx, "GET", path("fleet", "settings", product)).value, as_json=as_json)


def configure(
    ctx: typer.Context,
    product: Product,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="age=2,priority=5", help="Changes to the score's weights.")
    ] = None,
    preemption: Annotated[
        bool | None, typer.Option("--preemption/--no-preemption", help="Let critical jobs stop lower ones.")
    ] = None,
    min_running: Annotated[
        str | None, typer.Option("--min-running", help="What every attempt may run before it is stopped, such as 10m.")
    ] = None,
    stop_grace: Annotated[
        str | None, typer.Option("--stop-grace", help="How long a stopped job has to checkpoint, such as 90s.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change how a product's jobs are placed and preempted; what is not named stays."""
    from pilothouse.cli.ask import ask, path
    from pilothouse.errors import NotFound

    where = path("fleet", "settings", product)
    try:
        settings: dict[str, Any] = dict(ask(ctx, "GET", where).value)
    except NotFound:
        settings = {}  # a home that is not there yet: setting something makes it
    if weights is not None:
        settings["weights"] = _weights(weights)
    if preemption is not None:
        settings["preemption"] = preemption
    if min_running is not None:
        settings["min_running_seconds"] = _seconds("--min-running", min_running)
    if stop_grace is not None:
        settings["stop_grace_seconds"] = _seconds("--stop-grace", stop_grace)
    _show(product, ask(ctx, "PUT", where, body=settings).value, as_json=as_json)


def _weights(text: str) -> dict[str, float]:
    from pilothouse.errors import BadValue

    weights = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise BadValue(f"--weights: {pair!r} is no weight", fix="write it as age=2,priority=5") from None
    return weights


def _seconds(option: str, text: str) -> float:
    from pilothouse.errors import BadValue
    from pilothouse.fleet.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadValue(f"{option}: {error}", fix="write it as 90s or 10m") from None


def _show(product: str, settings: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(settings)
        return
    weights = ", ".join(f"{name}={value:g}" for name, value in settings["weights"].items()) or "the defaults"
    say(f"{product}: preemption {'on' if settings['preemption'] else 'off'}")
    say(f"  weights      {weights}")
    say(f"  min running  {settings['min_running_seconds']:g} s")
    say(f"  stop grace   {settings['stop_grace_seconds']:g} s")
