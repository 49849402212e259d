"""A calibration at work: A/A replicates through the engine, then the noise floor in the logbook."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from pilothouse.campaigns.action import Finished
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.calibration import Replicated, next_replicate
from pilothouse.campaigns.flywheel import Action
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.wanted import present_config
from pilothouse.engine.campaign_loop import LoopParts
from pilothouse.engine.flywheel_loop import FlywheelLoop
from pilothouse.evidence.noise_floor import NoiseFloor
from pilothouse.ids import ProductId
from pilothouse.operations.calibrate import conditions_of, floors_of, record_floors, stored_floors
from pilothouse.operations.campaign_facts import Session, flywheel_facts
from pilothouse.operations.campaign_snapshot import find_campaign
from pilothouse.wiring.conditions import code_commit, hardware_class
from pilothouse.wiring.recording import recording
from pilothouse.wiring.running import CampaignStart, begin_campaign, run_campaign, running_engine
from pilothouse.wiring.workspace import Workspace


@dataclass(kw_only=True)
class CalibrationLoop(FlywheelLoop):
    """The campaign's loop with other decisions: replicates instead of trials. `found` is set when all have ended."""

    replicates: int
    found: Replicated | None = field(default=None)

    def decide(self) -> Action:
        """Return what the replicates need next."""
        with self.parts.engine.read() as tx:
            facts = flywheel_facts(tx, self.campaign, self.session, moved=False)
            config = present_config(self.definition, self.campaign.config)
            action = next_replicate(self.definition, facts, config=config, replicates=self.replicates)
        if isinstance(action, Replicated):
            self.found = action
            return Finished(reason=f"{len(action.metrics)} replicates are scored", final=False)
        return action


def calibrate(
    workspace: Workspace, start: CampaignStart, *, replicates: int, stop: threading.Event
) -> list[NoiseFloor] | str:
    """Run what is missing of the replicates and record their noise floor; return it, or why it was not measured.

    An autopilot calibrates by itself before its first trial, so all there is to do is to begin and to judge nothing.
    """
    if isinstance(start.definition, AutopilotDefinition):
        return _calibrate_autopilot(workspace, start, stop)
    assert isinstance(start.definition, FlywheelDefinition), f"{start.definition.campaign.kind} has no calibration"
    with running_engine(workspace, start, stop) as running:
        now, commit = workspace.clock.now(), code_commit(workspace.home)
        campaign = running.engine.apply(
            lambda tx: begin_campaign(tx, start, running.owner, code_commit=commit, now=now)
        )
        running.campaign = campaign
        loop = CalibrationLoop(
            parts=LoopParts(
                engine=running.engine,
                blobs=workspace.blobs,
                clock=workspace.clock,
                code_commit=lambda: code_commit(workspace.home),
                tell=start.tell,
            ),
            definition=start.definition,
            campaign=campaign,
            session=Session(since=now, trials_max=None, restore_golden=start.restore_golden),
            overrides={},
            replicates=replicates,
        )
        with recording(workspace, running.engine, campaign, file=start.file, warn=start.warn, stop=stop):
            ending = loop.run(stop)
        if running.keeper.failure is not None:
            loop.fail(running.keeper.failure)
            raise running.keeper.failure
        if loop.found is None:
            return ending.reason if isinstance(ending, Finished) else "stopped"
        found, ended = loop.found, workspace.clock.now()
        with running.engine.read() as tx:
            conditions = conditions_of(tx, start.definition, campaign, code=commit, hardware=hardware_class())
        floors = floors_of(start.definition, found, conditions=conditions)
        running.engine.apply(
            lambda tx: record_floors(tx, floors, definition=start.definition, campaign=campaign, now=ended)
        )
        return floors


def _calibrate_autopilot(workspace: Workspace, start: CampaignStart, stop: threading.Event) -> list[NoiseFloor] | str:
    ending = run_campaign(workspace, replace(start, iterations=0), stop)
    with workspace.store.read() as tx:
        table = start.definition.campaign
        campaign = find_campaign(tx, ProductId(table.product), table.name)
        floors = stored_floors(tx, campaign)
    return floors or (ending.reason if isinstance(ending, Finished) else "stopped")
