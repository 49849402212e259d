"""`pilothouse campaign calibrate`: measure how much the metrics move when nothing but the seed does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, print_json, say, settings_of

if TYPE_CHECKING:
    from pilothouse.campaigns.definition import Definition
    from pilothouse.evidence.noise_floor import NoiseFloor


REPLICATES = 8


def calibrate(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The campaign file.", show_default=False)],
    replicates: Annotated[
        int | None, typer.Option(min=3, help="How many trainings of a flywheel, each with a seed of its own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train the unchanged baseline several times and store the noise floor of every metric."""
    from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
    from pilothouse.cli.campaign import read_file
    from pilothouse.cli.progress import ProgressView
    from pilothouse.operations.calibrate import floor_json
    from pilothouse.wiring.calibrating import calibrate as measure
    from pilothouse.wiring.running import CampaignStart
    from pilothouse.wiring.stopping import signals
    from pilothouse.wiring.workspace import open_workspace

    definition = read_file(file)
    if replicates is not None and isinstance(definition, AutopilotDefinition):
        raise typer.BadParameter(
            "an autopilot's file says how often its baseline runs: set [decision] calibration",
            param_hint="--replicates",
        )
    stop = threading.Event()
    with signals(stop) as caught, ProgressView() as view:
        start = CampaignStart(
            definition=definition, iterations=None, overrides={}, restore_golden=False, warn=note, tell=view
        )
        workspace = open_workspace(settings_of(ctx), create=True)
        floors = measure(workspace, start, replicates=replicates or REPLICATES, stop=stop)
    if isinstance(floors, str):
        note(f"not measured: {floors}; go on with: pilothouse campaign calibrate {file}")
        raise typer.Exit(128 + caught[-1] if caught else 1)
    if as_json:
        print_json({"campaign": definition.campaign.name, "noise_floors": [floor_json(each) for each in floors]})
    else:
        _show(definition, floors)


def _show(definition: Definition, floors: list[NoiseFloor]) -> None:
    from pilothouse.operations.calibrate import seeds_words

    for floor in floors:
        failed = f", {floor.failed} failed" if floor.failed else ""
        say(f"{floor.metric}: {floor.mean:.6g} ± {floor.sigma:.3g} over {floor.replicates} replicates{failed}")
        say(f"  noise floor        {floor.sigma:.4g}, 95 % interval [{floor.sigma_low:.4g}, {floor.sigma_high:.4g}]")
        say(f"  8 seeds per arm    find {floor.detectable:.4g} in four of five cases, at {floor.alpha:.2g}")
        interest = definition.metrics[floor.metric].smallest_effect_of_interest
        if interest > 0:
            say(f"  effect of interest {interest:g} needs {seeds_words(floor, interest)} seeds per arm")
