"""The autopilot's state machine: what the loop does next, from what is known.

    calibrate the baseline ─► trial 0: its noise floor and first arm
                                 │
        ┌────────────────────────▼───────────────────────────────────────────────────┐
        │ ask a proposer ─► gate ─► screen ─► look, launch more seeds, look … ─► judge │  trial n = 1, 2, …
        └───────▲──────────────────────────────────────────────────────────────┬─────┘
                │                                       improved: the baseline moves
                └─── confirmed, or rolled back ◄─── fresh runs re-measure it ◄──┘

The candidate's next seeds are launched only while they can still change the decision, and at each look the baseline
gets runs of its own beside them. Nothing here remembers anything: the action follows from the definition and the facts
alone, so a loop that was killed and started again takes the same next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.arms import Ran, Series, gather, interleaved, known, run_step, values
from pilothouse.campaigns.definition import AutopilotDefinition, Decision, Screen
from pilothouse.campaigns.error_rate import Grant, grant_of
from pilothouse.campaigns.facts import Facts
from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.campaigns.seeds import Purpose
from pilothouse.campaigns.steps import Step
from pilothouse.campaigns.stop_rules import Standing, Stuck, stop_of
from pilothouse.campaigns.trial_look import Decided, Sides, screen_out, settle
from pilothouse.campaigns.wanted import spent_limit
from pilothouse.canonical import Json
from pilothouse.evidence.looks import custom_design, single_design, stream_design
from pilothouse.evidence.noise_floor import REPLICATES_LEAST, Conditions
from pilothouse.evidence.sequential import Design
from pilothouse.proposals.promotion import Confirmed, confirm
from pilothouse.proposals.proposal import State


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotFacts(Facts):
    """What the autopilot needs to know besides.

    `config` is what the baseline's runs are given. `conditions` are those of this moment, `calibrated` those under
    which the noise floor was last measured, None if it never was. `refusals` counts the proposals in a row, the newest
    last, that were refused before any run. `elapsed` is the seconds since the campaign was opened; `stop_asked` says
    that its stop file is there.
    """

    config: Mapping[str, Json]
    conditions: Conditions
    calibrated: Conditions | None
    refusals: int = 0
    elapsed: float = 0.0
    stop_asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFloor:
    """The unchanged config has run often enough: record its noise floor, and at first make it the baseline."""

    config: Mapping[str, Json]
    runs: tuple[Ran, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask for the proposal of this trial."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRuns:
    """The trial's looks have ended: record the verdict, and move the baseline if it is a promotion."""

    number: int
    decided: Decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The fresh runs of a promoted change have ended: keep the baseline or move it back."""

    number: int
    answer: Confirmed
    fresh: tuple[Ran, ...]


Action: TypeAlias = Submit | Await | KeepFloor | Ask | Admit | JudgeRuns | Confirm | Failed | Stuck | Finished


def next_action(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    """Return the one thing to do now; a budget that is used up lets no further job begin."""
    action = _next(definition, facts)
    spent = spent_limit(definition, facts.spent_hours)
    if spent is not None and isinstance(action, Submit | Ask | Admit):
        return Finished(reason=spent, final=True)
    return action


def design_of(decision: Decision, grant: Grant) -> Design:
    """Return the looks of a trial at the error rate that it was granted."""
    if decision.looks is not None:
        return custom_design(decision.looks, alpha=grant.level)
    return single_design(grant.level) if grant.book is None else stream_design(grant.level)


def _next(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    for trial in facts.trials:
        if trial.state is TrialState.CONFIRMING:
            return _confirmation(definition, facts, trial)
    if not facts.trials or facts.calibrated != facts.conditions:
        return _calibration(definition, facts)
    for trial in facts.trials:
        if trial.state is TrialState.RUNNING:
            return _proposing(facts, trial.number) or _trial(definition, facts, trial)
    ending = stop_of(
        definition.autopilot.stop,
        Standing(
            trials=facts.trials,
            trials_max=facts.trials_max,
            refusals=facts.refusals,
            elapsed=facts.elapsed,
            asked=facts.stop_asked,
        ),
    )
    number = facts.trials[-1].number + 1
    return ending or _proposing(facts, number) or Ask(number=number)


def _proposing(facts: AutopilotFacts, number: int) -> Ask | Admit | None:
    """Return what the gate still wants of a trial, or None when its newest proposal is admitted."""
    proposal = facts.proposals.get(number)
    if facts.moved or proposal is None or proposal.state is State.REJECTED:
        return Ask(number=number)
    return Admit(proposal=proposal) if proposal.state is State.OPEN else None


def _calibration(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    """Run the unchanged config with fresh seeds, at first and whenever code or hardware class has changed."""
    base = facts.promotions[-1] if facts.promotions else None
    config = facts.config if base is None else base.config
    series = Series(config=config, trial=0 if base is None else base.trial, purpose=Purpose.ARM)
    ran = gather(_runs(definition, facts, series, definition.decision.calibration), facts)
    if not isinstance(ran, tuple):
        return ran
    failed = [run for run in ran if run.failure()]
    if len(ran) - len(failed) < REPLICATES_LEAST:
        return Failed(step=failed[0].step, fact=failed[0].fact)
    return KeepFloor(config=config, runs=ran)


def _trial(definition: AutopilotDefinition, facts: AutopilotFacts, trial: Trial) -> Action:
    """Screen the candidate, then look at it until a look decides."""
    base = facts.promotions[-1]
    grant = grant_of(definition.decision, facts.trials, number=trial.number)
    screen = definition.autopilot.screen
    if screen is not None:
        screened = _screening(definition, facts, trial, screen)
        if not isinstance(screened, Sides):
            return screened
        decided = screen_out(definition, screen, grant, screened)
        if decided is not None:
            return JudgeRuns(number=trial.number, decided=decided)
    arm = [] if grant.book is None else _arm(definition, facts, base, before=trial.number)
    design = design_of(definition.decision, grant)
    for look, seeds in enumerate(design.looks):
        candidate = Series(config=trial.config, trial=trial.number, purpose=Purpose.LOOK)
        beside = replace(candidate, config=base.config)
        sides = _both(definition, facts, (candidate, seeds), (beside, seeds if grant.book is None else look + 1))
        if not isinstance(sides, Sides):
            return sides
        sides = replace(sides, baseline=(*arm, *sides.baseline))
        decided = settle(definition, design, grant, sides)
        if decided is not None:
            return JudgeRuns(number=trial.number, decided=decided)
    raise AssertionError(f"the last look of {design.looks} always decides")


def _screening(
    definition: AutopilotDefinition, facts: AutopilotFacts, trial: Trial, screen: Screen
) -> Sides | Submit | Await | Failed:
    """Return the runs of both arms in the screen's cheaper mode; the baseline's are made once."""
    base = facts.promotions[-1]
    cheaper = definition.trainer.modes[screen.mode]
    candidate = Series(config={**trial.config, **cheaper}, trial=trial.number, purpose=Purpose.SCREEN)
    rival = Series(config={**base.config, **cheaper}, trial=base.trial, purpose=Purpose.SCREEN)
    return _both(definition, facts, (candidate, screen.runs), (rival, screen.baseline))


def _both(
    definition: AutopilotDefinition, facts: AutopilotFacts, candidate: tuple[Series, int], baseline: tuple[Series, int]
) -> Sides | Submit | Await | Failed:
    """Return so many runs of both arms, started in turn; a candidate's run that fails ends the waiting."""
    tried = _runs(definition, facts, *candidate)
    own = frozenset(step.key for step in tried)
    ran = gather(interleaved(tried, _runs(definition, facts, *baseline)), facts, fatal=own)
    if not isinstance(ran, tuple):
        return ran
    return Sides(
        baseline=tuple(run for run in ran if run.step.key not in own),
        candidate=tuple(run for run in ran if run.step.key in own),
    )


def _confirmation(definition: AutopilotDefinition, facts: AutopilotFacts, trial: Trial) -> Action:
    """Re-measure a promoted change with fresh seeds, beside what is known of the baseline before it."""
    count, metric = definition.decision.confirmation, definition.primary()
    before = facts.promotions[-2]
    own = _runs(definition, facts, Series(config=trial.config, trial=trial.number, purpose=Purpose.ARM), count)
    # Under the conditions of the looks these have run already; a changed code or machine measures both arms anew.
    rival = Series(config=before.config, trial=before.trial, purpose=Purpose.ARM)
    ran = gather(interleaved(own, _runs(definition, facts, rival, min(count, definition.decision.calibration))), facts)
    if not isinstance(ran, tuple):
        return ran
    keys = {step.key for step in own}
    fresh = tuple(run for run in ran if run.step.key in keys)
    arm = _arm(definition, facts, before, before=trial.number + 1)
    answer = confirm(values(arm, metric[0]), values(fresh, metric[0]), direction=metric[1].better(), runs=count)
    return Confirm(number=trial.number, answer=answer, fresh=fresh)


def _arm(definition: AutopilotDefinition, facts: AutopilotFacts, base: Promotion, *, before: int) -> list[Ran]:
    """Return every run of the baseline there is: those that measured it, then those beside the trials since."""
    arm = known(definition, facts, facts.conditions, Series(config=base.config, trial=base.trial, purpose=Purpose.ARM))
    for trial in facts.trials:
        if base.trial < trial.number < before:
            arm += known(
                definition,
                facts,
                facts.conditions,
                Series(config=base.config, trial=trial.number, purpose=Purpose.LOOK),
            )
    return arm


def _runs(definition: AutopilotDefinition, facts: AutopilotFacts, series: Series, count: int) -> list[Step]:
    return [run_step(definition, facts.conditions, series, index) for index in range(count)]
