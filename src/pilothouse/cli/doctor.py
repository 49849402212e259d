"""`pilothouse doctor`: what an unattended night needs, and whether it is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pilothouse.cli.context import AsJson, print_json, settings_of

if TYPE_CHECKING:
    from pilothouse.canonical import Json

EXIT_FAILED = 1


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check this installation, part by part.

    Each line is ok, warn or fail, with the command that mends it.
    """
    from pilothouse.cli.examination import examine
    from pilothouse.cli.table import console, shown

    findings = examine(settings_of(ctx))
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        rows: list[dict[str, Json]] = [
            {"check": each.check, "level": each.level, "detail": each.detail, "mend": each.mend or None}
            for each in findings
        ]
        print_json({"ok": not failed, "checks": rows})
    else:
        styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
        for each in findings:
            console().print(f"{each.level:<5}", style=styles[each.level], end="")
            console().print(f" {each.check:<14} {shown(each.detail)}", markup=False, soft_wrap=True)
            if each.mend:
                console().print(f"      mend: {shown(each.mend)}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(EXIT_FAILED)
