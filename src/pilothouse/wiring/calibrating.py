"""A calibration at work: A/A replicates through the engine, then the noise floor in the logbook."""

from __future__ import annotations

import os
import platform
import threading
from dataclasses import dataclass, field

from pilothouse.campaigns.calibration import Replicated, next_replicate
from pilothouse.campaigns.flywheel import Action, Finished
from pilothouse.engine.campaign_loop import CampaignLoop, LoopParts
from pilothouse.evidence.noise_floor import NoiseFloor
from pilothouse.operations.calibrate import conditions_of, floors_of, record_floors
from pilothouse.operations.campaign_facts import Session, campaign_facts
from pilothouse.wiring.running import CampaignStart, begin_campaign, code_commit, running_engine
from pilothouse.wiring.workspace import Workspace


@dataclass(kw_only=True)
class CalibrationLoop(CampaignLoop):
    """The campaign's loop with other decisions: replicates instead of trials. `found` is set when all have ended."""

    replicates: int
    found: Replicated | None = field(default=None)

    def _decide(self) -> Action:
        with self.parts.engine.read() as tx:
            facts = campaign_facts(tx, self.campaign, self.session, moved=False)
            config = {**self.definition.trainer.fixed_values(), **self.campaign.config}
            action = next_replicate(self.definition, facts, config=config, replicates=self.replicates)
        if isinstance(action, Replicated):
            self.found = action
            return Finished(reason=f"{len(action.metrics)} replicates are scored", final=False)
        return action


def hardware_class() -> str:
    """Return what makes two machines comparable: system, architecture and number of cores."""
    return f"{platform.system()} {platform.machine()} {os.cpu_count()} cores"


def calibrate(
    workspace: Workspace, start: CampaignStart, *, replicates: int, stop: threading.Event
) -> list[NoiseFloor] | str:
    """Run what is missing of the replicates and record their noise floor; return it, or why it was not measured."""
    with running_engine(workspace, stop, warn=start.warn) as running:
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
