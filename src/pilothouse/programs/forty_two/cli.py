"""The noun `oracle` of the command line: exact values of Texas-42 deals.

This module loads neither NumPy nor Numba until a command runs, so that help is quick.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pilothouse.programs.forty_two.solver import Solution

# Said here once more because the modules that own them load NumPy; a test holds them equal.
SEED_MAX = 2**31 - 1
DECLARATION_MAX = 9

oracle = typer.Typer(no_args_is_help=True, help="Perfect play of Texas 42: exact values of a deal, and shards of them.")


def _within(low: int, high: int, what: str) -> Callable[[str], int]:
    """Return a parser of whole numbers that names the value and the range where it refuses."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            message = f"{text!r} is not {what} from {low} to {high}"
            raise typer.BadParameter(message)
        return number

    return parse


Seed = Annotated[
    int,
    typer.Option(parser=_within(0, SEED_MAX, "a seed, a whole number"), metavar="INTEGER", help="Which deal."),
]
Declaration = Annotated[
    int,
    typer.Option(
        parser=_within(0, DECLARATION_MAX, "a declaration, a whole number"),
        metavar="INTEGER",
        help="0-6 the trump pip, 7 doubles trump, 8 doubles a suit, 9 no trump.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@oracle.callback()
def _nouns() -> None:
    """Keep `solve` a verb of its own whatever the number of commands."""


@oracle.command()
def solve(seed: Seed, declaration: Declaration, as_json: AsJson = False) -> None:
    """Solve a deal: how many positions it has, what it is worth to team 0, and what each opening lead is worth."""
    from pilothouse.programs.forty_two import solver

    solver.prepare()
    started = time.perf_counter()
    solution = solver.solve(seed, declaration)
    seconds = time.perf_counter() - started
    if as_json:
        answer = {
            "seed": seed,
            "declaration": declaration,
            "states": solution.states,
            "boundary_states": solution.boundary_states,
            "root_value": solution.root_value,
            "root_q": solution.root_q,
            "seconds": round(seconds, 6),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        _print_table(solution, seed=seed, seconds=seconds)


@oracle.command()
def shard(
    seed: Seed,
    declaration: Declaration,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the file; made if it is missing.")],
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows at most.")] = 50_000,
    scheme: Annotated[str, typer.Option(help="stratified or uniform.")] = "stratified",
    global_seed: Annotated[int, typer.Option(min=0, help="Part of the name the rows are drawn under.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Write one shard: sampled positions of a deal with the exact value of every move."""
    from pilothouse.programs.forty_two.sampling import Scheme, sample_shard
    from pilothouse.programs.forty_two.shards import content_digest, write_shard

    if scheme not in list(Scheme):
        message = f"{scheme!r} is none of {', '.join(Scheme)}"
        raise typer.BadParameter(message, param_hint="--scheme")
    made, states = sample_shard(
        seed=seed, declaration=declaration, rows=rows, scheme=Scheme(scheme), global_seed=global_seed
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        path = write_shard(out, made)
    except OSError as error:
        typer.echo(f"cannot write into {out}: {error.strerror}; choose another --out", err=True)
        raise typer.Exit(1) from None
    answer = {"path": str(path), "rows": len(made), "states": states, "content": content_digest(made)}
    sys.stdout.write(json.dumps(answer) + "\n" if as_json else f"{path}: {len(made):,} of {states:,} positions\n")


def _print_table(solution: "Solution", *, seed: int, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from pilothouse.programs.forty_two.rules import DECLARATION_NAMES, PIPS

    console = Console()
    name = DECLARATION_NAMES[solution.declaration]
    table = Table(title=f"Deal {seed}, {name}: {solution.root_value:+d} for team 0", title_justify="left")
    table.add_column("lead")
    table.add_column("value", justify="right")
    for domino, value in zip(solution.hands[0], solution.root_q, strict=True):
        best = " best" if value == solution.root_value else ""
        table.add_row(f"{PIPS[domino, 0]}-{PIPS[domino, 1]}", f"{value:+d}{best}")
    console.print(table)
    console.print(
        f"{solution.states:,} positions, {solution.boundary_states:,} between tricks, solved in {seconds:.3f} s"
    )
