"""`pilothouse fleet`: try the fleet's rules on recorded work and on invented trouble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pilothouse.cli.context import AsJson, note, open_existing, print_json, say

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
        str, typer.Option(help="By commas: fifo, shortest (knows every duration), ours, preempting, slices.")
    ] = "fifo,shortest,ours",
    mix: Annotated[
        str | None, typer.Option(metavar="critical=5,low=20", help="Draw priorities by these shares and the seed.")
    ] = None,
    shakes: Annotated[int, typer.Option(min=0, help="Replays with moved submissions, for intervals; at least 2.")] = 0,
    shake_by: Annotated[str, typer.Option(help="By how much submissions move either way.")] = "30m",
    limits: Annotated[
        float,
        typer.Option(
            metavar="X", min=0, max=1e6, help="Jobs without a time limit get one of X times their duration; 0: none."
        ),
    ] = 2.0,
    checkpoint_every: Annotated[str, typer.Option(help="Work since the last one is lost at a preemption.")] = "15m",
    restart_cost: Annotated[str, typer.Option(help="What every start after a preemption takes.")] = "60s",
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Without a workload: run the engine under invented trouble, so many times."),
    ] = None,
    events: Annotated[int, typer.Option(min=1, help="How much happens in each of these runs.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures; the first of --seeds.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Replay a workload under several policies, or search the engine for broken promises.

    With --workload, a trace is played on a cluster of equal GPUs and every policy gets its figures. With --seeds, the
    real engine runs on a store in memory while servers and factories crash, networks part, words are lost, doubled and
    late, and clocks jump; the command fails when something happened that must never.
    """
    from pilothouse.cli.fleet_replay import Order, measure, mix_named, policies_named, seconds_named, show
    from pilothouse.errors import BadValue
    from pilothouse.fleet.replay import Checkpoints

    if seeds is not None:
        _search(seeds=seeds, events=events, first=seed, workload=workload, as_json=as_json)
        return
    if workload is None or cluster is None:
        raise BadValue("there is nothing to simulate", fix="give --workload FILE with --cluster GPUS, or --seeds N")
    if shakes == 1:
        raise BadValue("one shaken replay has no interval", fix="give --shakes 2 or more")
    figures = measure(
        Order(
            workload=workload,
            gpus=cluster,
            policies=policies_named(policies),
            mix=mix_named(mix),
            seed=seed,
            limits=limits,
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


@app.command("what-if")
def ask_what_if(
    ctx: typer.Context,
    weights: Annotated[str, typer.Option(metavar="age=1,priority=20", help="The weights to try.")],
    product: Annotated[str | None, typer.Option(help="Whose jobs; the home's own product by default.")] = None,
    seats: Annotated[
        int | None, typer.Option(min=1, help="Seats of the replay; by default as many as were ever held at once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay what the fleet of a home has recorded, under other weights.

    Shown are the record, its replay under its own weights, and the replay under the others; the two replays compare.
    """
    from pilothouse.cli.fleet_what_if import measure, show, weights_named
    from pilothouse.ids import ProductId

    asked = weights_named(weights)
    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        figures = measure(tx, ProductId(product) if product else workspace.product, weights=asked, seats=seats)
    if as_json:
        print_json(figures)
    else:
        show(figures)


def _search(*, seeds: int, events: int, first: int, workload: Path | None, as_json: bool) -> None:
    from pilothouse.errors import BadValue
    from pilothouse.testing.simulation.run import simulate as run

    if workload is not None:
        raise BadValue("a workload is replayed, and seeds invent one", fix="give --workload or --seeds, not both")

    def progress(done: int) -> None:
        if done % 10 == 0 or done == seeds:
            note(f"{done} of {seeds} seeds")

    found = run(seeds=seeds, events=events, first=first, progress=progress)
    if as_json:
        print_json(found.as_json())
    else:
        for name, count in sorted(found.counts.items()):
            say(f"{name:<16} {count}")
        for violation in found.violations:
            say(f"violation        {violation.what}: job {violation.job}: {violation.detail}")
            say(f"  again          pilothouse fleet simulate --seeds 1 --seed {violation.seed} --events {events}")
        say(f"violations       {len(found.violations)}")
    if found.violations:
        raise typer.Exit(1)
