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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.arms import Ran, Series, gather, interleaved, known, run_step, values
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition, Screen
from pilothouse.campaigns.error_rate import Grant, grant_of
from pilothouse.campaigns.facts import Facts
from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.campaigns.sections import Decision
from pilothouse.campaigns.seeds import Purpose
from pilothouse.campaigns.steps import Step
from pilothouse.campaigns.stop_rules import Standing, Stuck, stop_of, stuck_of
from pilothouse.campaigns.trial_look import Decided, Sides, abandon, screen_out, settle
from pilothouse.campaigns.wanted import WAITING, present_config, spent_limit
from pilothouse.canonical import Json
from pilothouse.evidence.looks import custom_design, single_design, stream_design
from pilothouse.evidence.noise_floor import REPLICATES_LEAST, Conditions
from pilothouse.evidence.sequential import Design
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import JobId
from pilothouse.proposals.agent_run import Spending
from pilothouse.proposals.promotion import Confirmed, confirm
from pilothouse.proposals.proposal import State


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotFacts(Facts):
    """What the autopilot needs to know besides.

    `config` is what the baseline's runs are given. `conditions` are those of this moment, `calibrated` those under
    which the noise floor was last measured, None if it never was. `refusals` counts the proposals in a row, the newest
    last, that were refused before any run. `doomed` holds the jobs that were stopped because they had no chance left.
    `elapsed` is the seconds since the campaign was opened; `stop_asked` says that its stop file is there. `agents` is
    what agents have cost so far.
    """

    config: Mapping[str, Json]
    conditions: Conditions
    calibrated: Conditions | None
    refusals: int = 0
    doomed: frozenset[JobId] = frozenset()
    elapsed: float = 0.0
    stop_asked: bool = False
    agents: Spending = field(default_factory=Spending)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFloor:
    """The unchanged config has run often enough: record its noise floor, and at first make it the baseline."""

    config: Mapping[str, Json]
    runs: tuple[Ran, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Take back what still waits in the queue: the budget is used up, and only what runs already may end."""


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
class OpenLook:
    """A look whose runs are not all there yet: the candidate's steps, and the runs of the baseline that have ended."""

    design: Design
    candidate: tuple[Step, ...]
    baseline: tuple[Ran, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The fresh runs of a promoted change have ended: keep the baseline or move it back."""

    number: int
    answer: Confirmed
    fresh: tuple[Ran, ...]


Action: TypeAlias = (
    Submit | Await | KeepFloor | Withdraw | Ask | Admit | JudgeRuns | Confirm | Failed | Stuck | Finished
)

Stored = TypeVar("Stored", Trial, Promotion)


def next_action(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    """Return the one thing to do now; a budget that is used up lets no job begin, a stop file none go on."""
    action = _next(definition, facts)
    if not isinstance(action, Submit | Await | Ask | Admit):
        return action
    if facts.stop_asked:
        return Finished(reason=f"the stop file {definition.autopilot.stop.file} is there", final=False)
    spent = spent_limit(definition, facts.spent_hours, agents_usd=facts.agents.usd)
    if spent is not None:
        return _wind_up(action, facts, spent)
    return _agents_end(definition, facts) or action if isinstance(action, Ask) else action


def _agents_end(definition: AutopilotDefinition, facts: AutopilotFacts) -> Finished | Stuck | None:
    """Return why no agent may be asked once more, where nobody else could be."""
    agent = definition.autopilot.agent
    if agent is None:
        return None
    limit = agent.cost_limit_usd if definition.autopilot.proposer == "agent" else None
    if facts.agents.unknown and (limit is not None or definition.budget.usd is not None):
        return Stuck(
            reason=f"what {facts.agents.unknown} of the agent's runs cost is not known, and there is a limit in USD",
            mend="give [autopilot.agent] cost_estimate_usd, what one run costs at most; runs on record without a cost "
            "need a campaign under another name, or a file without a limit in USD",
        )
    if limit is not None and facts.agents.usd >= limit:
        return Finished(
            reason=f"autopilot.agent.cost_limit_usd is used up: {facts.agents.usd:.3f} of {limit:g}", final=True
        )
    return None


def _wind_up(action: Submit | Await | Ask | Admit, facts: AutopilotFacts, reason: str) -> Action:
    """Begin nothing more: what waits is taken back, what runs may end."""
    for step in action.beside if isinstance(action, Submit | Await) else ():
        fact = facts.step(step.key)
        if fact is not None and fact.stage in WAITING:
            return Withdraw()
    for step in action.beside if isinstance(action, Submit | Await) else ():
        fact = facts.step(step.key)
        if fact is not None and fact.stage not in ENDS:
            return Await(step=step, fact=fact)
    return Finished(reason=reason, final=True)


def design_of(decision: Decision, grant: Grant) -> Design:
    """Return the looks of a trial at the error rate that it was granted."""
    if decision.looks is not None:
        return custom_design(decision.looks, alpha=grant.level)
    return single_design(grant.level) if grant.book is None else stream_design(grant.level)


def _next(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    trial = next((each for each in facts.trials if each.state is not TrialState.JUDGED), None)
    beyond = trial is not None and facts.trials_max is not None and trial.number > facts.trials_max
    if trial is not None and trial.state is TrialState.CONFIRMING and not beyond:
        return _confirmation(definition, facts, trial)
    if trial is not None and trial.state is TrialState.RUNNING:
        abandoned = _abandoned(definition, facts, trial)
        if abandoned is not None:
            return abandoned
    if not facts.trials or facts.calibrated != facts.conditions:
        return _calibration(definition, facts)
    if trial is None:
        return _proposal(definition, facts)
    if beyond:
        return Finished(reason="the baseline is calibrated", final=False)
    wanted = _proposing(facts, trial.number)
    stuck = stuck_of(definition.autopilot.stop, (), refusals=facts.refusals) if isinstance(wanted, Ask) else None
    return stuck or _spent(definition, facts, trial.number) or wanted or _trial(definition, facts, trial)


def _abandoned(definition: AutopilotDefinition, facts: AutopilotFacts, trial: Trial) -> JudgeRuns | None:
    """Close a trial that would begin again although runs of it have ended; without any it may, for nothing was seen."""
    again = facts.calibrated != facts.conditions or isinstance(_proposing(facts, trial.number), Ask)
    if not again or facts.calibrated is None:
        return None
    base = facts.promotions[-1]
    candidate, rival = (
        known(definition, facts, facts.calibrated, Series(config=config, trial=trial.number, purpose=Purpose.LOOK))
        for config in (trial.config, base.config)
    )
    if not candidate:
        return None
    grant = grant_of(definition.decision, facts.trials, number=trial.number)
    sides = Sides(baseline=tuple(rival), candidate=tuple(candidate))
    return JudgeRuns(number=trial.number, decided=abandon(definition, grant, sides))


def _proposal(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    """Return what brings the next trial closer, or why there is none."""
    ending = stop_of(
        definition.autopilot.stop,
        Standing(
            trials=facts.trials,
            trials_max=facts.trials_max,
            refusals=facts.refusals,
            elapsed=facts.elapsed,
        ),
    )
    number = facts.trials[-1].number + 1
    return ending or _spent(definition, facts, number) or _proposing(facts, number) or Ask(number=number)


def _spent(definition: AutopilotDefinition, facts: AutopilotFacts, number: int) -> Stuck | None:
    """Return that no level is left to judge this trial at, which only a changed file brings about."""
    if not grant_of(definition.decision, facts.trials, number=number).spent():
        return None
    return Stuck(
        reason="the error rate is spent: the file promised more when the trials so far were judged",
        mend="give [decision] the mode and the promise that it had, or begin a campaign under another name",
    )


def _proposing(facts: AutopilotFacts, number: int) -> Ask | Admit | None:
    """Return what the gate still wants of a trial, or None when its newest proposal is admitted."""
    proposal = facts.proposals.get(number)
    if facts.moved or proposal is None or proposal.state is State.REJECTED:
        return Ask(number=number)
    return Admit(proposal=proposal) if proposal.state is State.OPEN else None


def _calibration(definition: AutopilotDefinition, facts: AutopilotFacts) -> Action:
    """Run the unchanged config with fresh seeds, at first and whenever code or hardware class has changed."""
    base = facts.promotions[-1] if facts.promotions else None
    series = Series(config=facts.config, trial=0 if base is None else base.trial, purpose=Purpose.ARM)
    ran = gather(_runs(definition, facts, series, definition.decision.calibration), facts)
    if not isinstance(ran, tuple):
        return ran
    failed = [run for run in ran if run.failure()]
    if len(ran) - len(failed) < REPLICATES_LEAST:
        return Failed(step=failed[0].step, fact=failed[0].fact)
    return KeepFloor(config=facts.config, runs=ran)


def _trial(definition: AutopilotDefinition, facts: AutopilotFacts, trial: Trial) -> Action:
    """Screen the candidate, then look at it until a look decides."""
    base, trial = replace(facts.promotions[-1], config=facts.config), _today(definition, trial)
    grant = grant_of(definition.decision, facts.trials, number=trial.number)
    screen = definition.autopilot.screen
    if screen is not None:
        screened = _screening(definition, facts, (trial, base), screen)
        if not isinstance(screened, Sides):
            return screened
        decided = screen_out(definition, screen, grant, screened)
        if decided is not None:
            return JudgeRuns(number=trial.number, decided=decided)
    design = design_of(definition.decision, grant)
    candidate = Series(config=trial.config, trial=trial.number, purpose=Purpose.LOOK)
    for look, seeds in enumerate(design.looks):
        if look + 1 < len(design.looks) and _has_begun(definition, facts, candidate, seeds):
            continue  # The next look's runs are only wanted when this one has decided nothing.
        beside = (_beside(base, trial), seeds if grant.book is None else look + 1)
        sides = _both(definition, facts, (candidate, seeds), beside)
        if not isinstance(sides, Sides):
            return sides
        arm = [] if grant.book is None else _arm(definition, facts, base, before=trial.number)
        decided = settle(definition, design, grant, replace(sides, baseline=(*arm, *sides.baseline)))
        if decided is not None:
            return JudgeRuns(number=trial.number, decided=decided)
    raise AssertionError(f"the last look of {design.looks} always decides")


def _has_begun(definition: AutopilotDefinition, facts: AutopilotFacts, series: Series, index: int) -> bool:
    """Whether the run number `index` of a series was ever handed to the fleet."""
    return facts.step(run_step(definition, facts.conditions, series, index).key) is not None


def _beside(base: Promotion, trial: Trial) -> Series:
    """Return the baseline's runs beside a trial; a rerun of its own config shares no seed with them."""
    purpose = Purpose.TWIN if trial.config == base.config else Purpose.LOOK
    return Series(config=base.config, trial=trial.number, purpose=purpose)


def _screening(
    definition: AutopilotDefinition, facts: AutopilotFacts, arms: tuple[Trial, Promotion], screen: Screen
) -> Sides | Submit | Await | Failed:
    """Return the runs of both arms in the screen's cheaper mode; the baseline's are made once."""
    trial, base = arms
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
    ran = gather(interleaved(tried, _runs(definition, facts, *baseline)), facts, fatal=own, doomed=facts.doomed)
    if not isinstance(ran, tuple):
        return ran
    return Sides(
        baseline=tuple(run for run in ran if run.step.key not in own),
        candidate=tuple(run for run in ran if run.step.key in own),
    )


def _confirmation(definition: AutopilotDefinition, facts: AutopilotFacts, trial: Trial) -> Action:
    """Re-measure a promoted change with fresh seeds, beside what is known of the baseline before it."""
    count, metric = definition.decision.confirmation, definition.primary()
    before, trial = _today(definition, facts.promotions[-2]), _today(definition, trial)
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


def open_look(definition: AutopilotDefinition, facts: AutopilotFacts, awaited: Sequence[Step]) -> OpenLook | None:
    """Return the look that waits for these steps; None where they are those of a screen or of no trial.

    Where every trial is a question of its own, the arms are to be of equal size, so the baseline's runs come first.
    """
    running = next((each for each in facts.trials if each.state is TrialState.RUNNING), None)
    if running is None:
        return None
    base, trial = replace(facts.promotions[-1], config=facts.config), _today(definition, running)
    grant = grant_of(definition.decision, facts.trials, number=trial.number)
    design = design_of(definition.decision, grant)
    candidate = Series(config=trial.config, trial=trial.number, purpose=Purpose.LOOK)
    keys = {step.key for step in awaited}
    own = tuple(step for step in _runs(definition, facts, candidate, design.looks[-1]) if step.key in keys)
    beside = known(definition, facts, facts.conditions, _beside(base, trial))
    if len(own) not in design.looks or (grant.book is None and len(beside) < len(own)):
        return None
    arm = [] if grant.book is None else _arm(definition, facts, base, before=trial.number)
    return OpenLook(design=design, candidate=own, baseline=(*arm, *beside))


def _arm(definition: AutopilotDefinition, facts: AutopilotFacts, base: Promotion, *, before: int) -> list[Ran]:
    """Return every run of the baseline there is: those that measured it, then those beside the trials since.

    Which runs had ended when a failed candidate cut its trial short is chance, so none of those count.
    """
    arm = known(definition, facts, facts.conditions, Series(config=base.config, trial=base.trial, purpose=Purpose.ARM))
    for trial in facts.trials:
        if base.trial < trial.number < before and not trial.failure:
            arm += known(definition, facts, facts.conditions, _beside(base, _today(definition, trial)))
    return arm


def _today(definition: AutopilotDefinition, stored: Stored) -> Stored:
    """Return a trial or a promotion with what its config's runs are given today."""
    return replace(stored, config=present_config(definition, stored.config))


def _runs(definition: AutopilotDefinition, facts: AutopilotFacts, series: Series, count: int) -> list[Step]:
    return [run_step(definition, facts.conditions, series, index) for index in range(count)]
