"""`pilothouse token`: who may ask a server, and for what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pilothouse.cli.context import AsJson, note, print_json, say

app = typer.Typer(help="Who may ask a server, and for what.", no_args_is_help=True)


class UserRole(StrEnum):
    """What a token may be made for; a worker's key is given by enrolling."""

    VIEWER = "viewer"
    PROPOSER = "proposer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"


COLUMNS = ("id", "kind", "name", "role", "product", "factory", "expires_at", "revoked_at", "used_at")
AUDIT_COLUMNS = ("at", "actor", "act", "object", "product", "detail", "before", "after")
DIGEST_SHOWN = 12
Product = Annotated[
    str | None, typer.Option("--product", metavar="PRODUCT", help="What it is good for; without it, all products.")
]


@app.command("list")
def list_tokens(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the tokens; their secrets are kept nowhere."""
    from pilothouse.cli.ask import ask
    from pilothouse.cli.table import print_table

    tokens = ask(ctx, "GET", "/fleet/tokens").value["tokens"]
    if as_json:
        print_json(tokens)
    else:
        print_table(COLUMNS, tokens)


@app.command("create")
def create_token(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for; histories name them so.")],
    role: Annotated[UserRole, typer.Option("--role", help="What it is for.")],
    product: Product = None,
    expires: Annotated[str, typer.Option("--expires", help="How long it is good, such as 12h or 90d.")] = "90d",
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once."""
    from pilothouse.cli.ask import ask

    body = {"name": name, "role": role.value, "product": product, "expires_seconds": _seconds(expires)}
    show_secret(ask(ctx, "POST", "/fleet/tokens", body=body).value, as_json=as_json)


@app.command("enrol")
def create_enrolment(
    ctx: typer.Context,
    product: Product = None,
    expires: Annotated[str, typer.Option("--expires", help="How long it may wait to be used, such as 1h.")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Make a token with which one factory can enrol, once, and print it."""
    from pilothouse.cli.ask import ask

    body = {"product": product, "expires_seconds": _seconds(expires)}
    show_secret(ask(ctx, "POST", "/fleet/enrolments", body=body).value, as_json=as_json)


@app.command("revoke")
def revoke_token(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `token list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Make a token worthless from now on."""
    from pilothouse.cli.ask import ask, path

    value = ask(ctx, "DELETE", path("fleet", "tokens", token)).value
    if as_json:
        print_json(value)
    else:
        say(f"token {value['id']} of {value['name']} is revoked")


@app.command("audit")
def list_audit(
    ctx: typer.Context,
    actor: Annotated[str | None, typer.Option("--actor", metavar="NAME", help="Only what this one did.")] = None,
    named: Annotated[str | None, typer.Option("--object", metavar="ID", help="Only what was done to this.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The most that are listed.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List who has used a privilege: tokens, factories, budgets and settings changed, jobs acted on; newest first."""
    from pilothouse.cli.ask import ask
    from pilothouse.cli.table import print_table

    query = {"actor": actor, "object": named, "limit": str(limit)}
    lines = ask(ctx, "GET", "/fleet/audit", query=query).value["lines"]
    if as_json:
        print_json(lines)
        return
    shown = [line | {name: (line[name] or "-")[:DIGEST_SHOWN] for name in ("before", "after")} for line in lines]
    print_table(AUDIT_COLUMNS, shown)


def show_secret(value: dict[str, str], *, as_json: bool) -> None:
    """Print a new token: the text alone on standard output, so that it can go into a file."""
    if as_json:
        print_json(value)
        return
    say(value["token"])
    note(f"good until {value['expires_at'] or 'it is revoked'}; this is the only time it is shown")


def _seconds(text: str) -> float:
    from pilothouse.errors import BadValue
    from pilothouse.fleet.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadValue(f"--expires: {error}", fix="write it as 12h or 90d") from None
