"""`pilothouse fleet`: try the fleet's rules on recorded and on invented trouble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pilothouse.cli.context import AsJson, note, print_json

app = typer.Typer(help="Try the fleet's rules: replay a workload, or invent trouble.", no_args_is_help=True)


@app.command("simulate")
def simulate(
    workload: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Replay this trace: CSV submit_time,duration,gpus[,priority,timeout], or SWF."
        ),
    ] = None,
    cluster: Annotated[int | None, typer.Option(min=1, help="How many GPUs the replay has.")] = None,
    policies: Annotated[
        str, typer.Option(help="By commas: fifo, shortest (knows every duration), backfill, ours.")
    ] = "fifo,shortest,ours",
    mix: Annotated[
        str | None, typer.Option(metavar="critical=5,low=20", help="Draw priorities by these shares and the seed.")
    ] = None,
    shakes: Annotated[int, typer.Option(min=0, help="Replays with moved submissions, for intervals; at least 2.")] = 0,
    shake_by: Annotated[str, typer.Option(help="By how much submissions move either way.")] = "30m",
    checkpoint_every: Annotated[str, typer.Option(help="Work since the last one is lost at a preemption.")] = "15m",
    restart_cost: Annotated[str, typer.Option(help="What every start after a preemption takes.")] = "60s",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Replay a workload under several policies."""
    from pilothouse.cli.fleet_replay import Order, measure, mix_named, policies_named, seconds_named, show
    from pilothouse.errors import BadValue
    from pilothouse.fleet.replay import Checkpoints

    if workload is None or cluster is None:
        raise BadValue("there is nothing to simulate", fix="give --workload FILE and --cluster GPUS")
    if shakes == 1:
        raise BadValue("one shaken replay has no interval", fix="give --shakes 2 or more")
    figures = measure(
        Order(
            workload=workload,
            gpus=cluster,
            policies=policies_named(policies),
            mix=mix_named(mix),
            seed=seed,
            shakes=shakes,
            shake_seconds=seconds_named(shake_by, "--shake-by"),
            checkpoints=Checkpoints(
                every_seconds=seconds_named(checkpoint_every, "--checkpoint-every"),
                restart_seconds=seconds_named(restart_cost, "--restart-cost"),
            ),
        ),
        note,
    )
    if as_json:
        print_json(figures)
    else:
        show(figures)
