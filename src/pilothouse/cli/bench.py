"""`pilothouse bench`: measured figures, with the machine they were measured on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pilothouse.cli.context import AsJson, note, print_json, say, settings_of
from pilothouse.errors import BadValue, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilothouse.canonical import Json

BENCHES_GROUP = "pilothouse.benches"
"""A program plugs in its own benchmark as `run(*, progress=None, **options) -> dict`."""

app = typer.Typer(help="Measured figures, with the machine they were measured on.", no_args_is_help=True)


@app.command("oracle")
def bench_oracle(
    seeds: Annotated[int, typer.Option(min=1, help="How many deals, from seed 0.")] = 60, as_json: AsJson = False
) -> None:
    """Measure the solver of the forty-two program: states a second, seconds a deal, shards, memory."""
    _show(_program_bench("oracle")(seeds=range(seeds), progress=_progress), as_json=as_json)


@app.command("flywheel")
def bench_flywheel(
    ctx: typer.Context,
    preset: Annotated[str, typer.Option(help="Which example campaign: nano or full.")] = "nano",
    as_json: AsJson = False,
) -> None:
    """Measure one iteration by step, the learner's throughput, and the platform's own share."""
    from pilothouse.cli.bench_flywheel import measure

    learner = _program_bench("learner")(preset=preset, progress=_progress)
    _show({**learner, **measure(settings_of(ctx), preset=preset)}, as_json=as_json)


@app.command("language")
def bench_language(
    preset: Annotated[
        Literal["nano", "micro", "canary", "daily-125m", "original-150m"], typer.Option(help="Which model.")
    ] = "micro",
    minutes: Annotated[float, typer.Option(min=0.01, max=600, help="How long steps are timed.")] = 1.0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the program as KEY=VALUE; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the language program: tokens a second, MFU, compiling, checkpoints, the loader, beside the limit."""
    from pilothouse.trainer import TrainerError

    measure = _program_bench("language")
    try:
        figures = measure(preset=preset, minutes=minutes, settings=_settings(settings or []), progress=_progress)
    except TrainerError as error:
        raise BadValue(error.problem, fix=error.fix) from error
    _show(figures, as_json=as_json)


@app.command("judge")
def bench_judge(
    runs: Annotated[Path, typer.Option(help="CSV of real runs: group,steps,run and the metric.")],
    curves: Annotated[
        Path | None, typer.Option(help="CSV of their curves: group,steps,run,step and the metric.")
    ] = None,
    metric: Annotated[str, typer.Option(help="The column that decides; lower is better.")] = "val_loss",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 1,
    alpha: Annotated[float, typer.Option(min=0.001, max=0.2, help="Error rate of one question.")] = 0.05,
    scale: Annotated[float, typer.Option(min=0.01, max=100, help="Replays, as a multiple of the usual.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Measure how often the judge and the usual rules promote noise, on real runs with known truth."""
    from pilothouse.cli.bench_judge import measure, show, sizes_at

    figures = measure(runs, curves, metric=metric, seed=seed, alpha=alpha, sizes=sizes_at(scale), progress=note)
    if as_json:
        print_json(figures)
    else:
        show(figures)


@app.command("fleet")
def bench_fleet(
    store: Annotated[str, typer.Option(help="sqlite or postgres.")] = "sqlite",
    cells: Annotated[str, typer.Option(help="What to measure, by commas, or all.")] = "claim",
    clients: Annotated[int, typer.Option(min=1, help="How many ask at the same time.")] = 256,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each system is measured in a turn.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each system has its turn.")] = 2,
    backlog: Annotated[int, typer.Option(min=1, help="Jobs that wait in the cells backlog and restart.")] = 1_000_000,
    decay_seconds: Annotated[float, typer.Option(min=1, help="How long the cell decay holds a snapshot.")] = 60.0,
    folder: Annotated[Path | None, typer.Option(help="Where the databases lie: on a disk, or in memory.")] = None,
    dsn: Annotated[str | None, typer.Option(help="Use this PostgreSQL, not one of the run's own.")] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Measure other queues in turns with ours.")] = False,
    peers_python: Annotated[Path, typer.Option(help="The interpreter that has them.")] = Path(".venv-peers/bin/python"),
    as_json: AsJson = False,
) -> None:
    """Measure the fleet: claims and completions a second, their latency, and other queues beside it."""
    from pilothouse.cli.bench_fleet import cells_named, folder_named, measure, show
    from pilothouse.testing.fleet_bench.run import Order
    from pilothouse.wiring.workspace import SystemClock

    order = Order(
        store=store,
        clock=SystemClock(),
        folder=folder_named(folder),
        cells=cells_named(cells),
        clients=clients,
        seconds=seconds,
        rounds=rounds,
        backlog=backlog,
        decay_seconds=decay_seconds,
        peers=peers,
        peers_python=peers_python,
        dsn=dsn,
    )
    figures = measure(order)
    if as_json:
        print_json(figures)
    else:
        show(figures)


@app.command("loop")
def bench_loop(
    ctx: typer.Context,
    parts: Annotated[str, typer.Option(help="regret, gap, faults, peer, by commas; all is the first three.")] = "all",
    systems: Annotated[
        str, typer.Option(help="Proposers with the judge, plain random and plain tpe without it, by commas.")
    ] = "plain random,plain tpe,one-axis,surrogate,tpe,hybrid",
    shapes: Annotated[str, typer.Option(help="The surfaces by name and commas, or all.")] = "all",
    dims: Annotated[str, typer.Option(help="How many knobs the surfaces have, by commas.")] = "2,3,4,5",
    seeds: Annotated[int, typer.Option(min=1, help="Loop seeds, each with an instance of every surface.")] = 10,
    every: Annotated[bool, typer.Option("--every", help="Take each surface in all dims with every seed.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="How many searches run at once.")] = 1,
    peer_python: Annotated[Path, typer.Option(help="The interpreter that has autoresearch-rl.")] = Path(
        ".venv-peers/bin/python"
    ),
    as_json: AsJson = False,
) -> None:
    """Measure the autopilot: regret on noisy surfaces, pauses between runs, and how soon injected faults are seen."""
    from pilothouse.cli.bench_loop import LoopOrder, dims_of, measure, parts_of, shapes_of, show, words_of

    order = LoopOrder(
        parts=parts_of(parts),
        systems=words_of(systems),
        shapes=shapes_of(shapes),
        dims=dims_of(dims),
        seeds=seeds,
        every=every,
        workers=workers,
        peer=peer_python,
    )
    figures = measure(settings_of(ctx), order)
    if as_json:
        print_json(figures)
    else:
        show(figures)


def _settings(given: list[str]) -> dict[str, Json]:
    """Return the options named, each value as JSON where it is some, else as the words it is."""
    import json

    found: dict[str, Json] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise BadValue(f"--set {each!r} is no KEY=VALUE", fix="give the name of an option, = and its value")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found


def _program_bench(name: str) -> Callable[..., dict[str, Json]]:
    from importlib.metadata import entry_points

    for entry in entry_points(group=BENCHES_GROUP, name=name):
        found: Callable[..., dict[str, Json]] = entry.load()
        return found
    raise NotFound(f"no installed program brings a benchmark {name!r}", fix="install pilothouse[programs]")


def _progress(done: int, total: int) -> None:
    note(f"{done}/{total}")


def _show(values: dict[str, Json], *, as_json: bool) -> None:
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        say(f"{name:<28} {value}")
