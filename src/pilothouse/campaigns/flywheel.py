"""The flywheel's state machine: what the loop does next, from what is known.

    golden set ─► trial 0: the untrained baseline
                     │
        ┌────────────▼────────────────────────────────────────────────────────────┐
        │ propose ─► gate ─► generate ─► tokenise ─► train ─► evaluate ─► judge   │  trial n = 1, 2, …
        └────────────────────────────────────────────▲─────────────────────┬──────┘
                                                     └── best checkpoint ◄─┘  (moves only on `improved`)

Nothing here remembers anything: the action follows from the definition and the facts alone, so a loop that was killed
and started again takes the same next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import GoldenSet, Promotion, Trial, TrialState
from pilothouse.campaigns.seed_range import SeedRange, training_range
from pilothouse.campaigns.steps import Feed, Step, StepFact, make_step
from pilothouse.canonical import Json
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import ArtifactDigest
from pilothouse.proposals.proposal import Proposal, State

GENERATIONS_MAX = 5
"""A step whose output keeps being damaged goes to a person."""


class StepFacts(Protocol):
    """The newest job of a step by the step's key, or None."""

    def __call__(self, key: str, /) -> StepFact | None:
        """Return what is known of the step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One consistent snapshot of what is stored of a campaign.

    `since` is when a person last started the loop: failures before it are tried again. `trials_max` is the highest
    trial this start may judge, None for endless. `spent_hours` sums every attempt. `damaged` holds the artifacts
    of which no intact copy is left. `moved` says that a person's new knob values wait to be proposed.
    """

    step: StepFacts
    trials: Sequence[Trial]
    promotions: Sequence[Promotion]
    golden: Mapping[str, GoldenSet]
    proposals: Mapping[int, Proposal]
    damaged: frozenset[ArtifactDigest]
    spent_hours: float
    since: datetime
    trials_max: int | None
    restore_golden: bool = False
    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Hand the step to the fleet as its job number `generation`."""

    step: Step
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """The fleet has the step; come back when its job changes."""

    step: Step
    fact: StepFact


@dataclass(frozen=True, slots=True, kw_only=True)
class LockGolden:
    """Lock the golden set at the content it has now, its first."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Draft the proposal of this trial."""

    number: int
    seeds: SeedRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """Bring the proposal to the gate; if it opens, the trial begins."""

    proposal: Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Every step of the trial is done: compare, decide, record.

    `baseline` holds the per-example scores of the best checkpoint so far; None for trial 0, which has no rival.
    """

    number: int
    baseline: ArtifactDigest | None
    samples: ArtifactDigest
    checkpoint: ArtifactDigest | None
    steps: tuple[tuple[Step, StepFact], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenDrift:
    """The golden set is not the one that was locked; comparing with it would be dishonest."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A step ended without its result and is not tried again by itself."""

    step: Step
    fact: StepFact


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Nothing is left to do; `final` says whether the campaign itself is done, or only this start of it."""

    reason: str
    final: bool


Action: TypeAlias = Submit | Await | LockGolden | Propose | Admit | Judge | GoldenDrift | Failed | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A step with all its promised outputs in place."""

    step: Step
    fact: StepFact

    def feed(self, name: str) -> Feed:
        return Feed(key=self.step.key, digest=self.fact.artifacts[name].digest)


Goldens: TypeAlias = dict[str, _Done]
"""The tokens of the golden sets by name, the deciding set first."""


def next_action(definition: Definition, facts: Facts) -> Action:
    """Return the one thing to do now; a budget that is used up lets no further job begin."""
    action = _next(definition, facts)
    spent = spent_limit(definition, facts.spent_hours)
    if spent is not None and isinstance(action, Submit | Propose | Admit):
        return Finished(reason=spent, final=True)
    return action


def _next(definition: Definition, facts: Facts) -> Action:
    golden: Goldens = {}
    for name in golden_names(definition):
        made = _golden(definition, facts, name)
        if not isinstance(made, _Done):
            return made
        golden[name] = made
    if not facts.trials:
        return _trial_zero(definition, facts, golden)
    open_trials = [trial for trial in facts.trials if trial.state is TrialState.RUNNING]
    if open_trials:
        number = open_trials[0].number
        return _proposing(definition, facts, number) or _iteration(definition, facts, golden, number)
    return _between(definition, facts)


def applied_config(definition: Definition, proposal: Proposal) -> dict[str, Json]:
    """Return what a training is given: the values the owner fixed, and the knobs as proposed."""
    return {**definition.trainer.fixed_values(), **proposal.config}


def golden_names(definition: Definition) -> tuple[str, ...]:
    """Return the golden sets, the deciding one first; the others are scored for the report and decide nothing."""
    deciding = definition.flywheel.golden
    return (deciding, *(name for name in definition.golden if name != deciding))


def seeds_of(definition: Definition, number: int) -> SeedRange:
    """Return the data seeds of trial `number`."""
    return training_range(
        number,
        first=definition.flywheel.first_seed,
        length=definition.flywheel.seeds_per_iteration,
        reserved=definition.reserved_ranges(),
    )


def spent_limit(definition: Definition, spent_hours: float) -> str | None:
    """Return which budget is used up, in words, or None. Hours count whole attempts, on every seat they held."""
    budget = definition.budget
    gpu_hours = spent_hours * definition.trainer.requires.gpus
    checks = [
        ("hours", budget.hours, spent_hours),
        ("gpu_hours", budget.gpu_hours, gpu_hours),
        ("usd", budget.usd, spent_hours * (budget.usd_per_hour or 0.0)),
    ]
    for name, ceiling, spent in checks:
        if ceiling is not None and spent >= ceiling:
            return f"budget.{name} is used up: {spent:.3f} of {ceiling:g}"
    return None


def _between(definition: Definition, facts: Facts) -> Action:
    """Stop, propose the next trial, or bring its proposal to the gate."""
    number = max(trial.number for trial in facts.trials) + 1
    total = definition.flywheel.iterations
    if total is not None and number > total:
        return Finished(reason=f"all {total} iterations are judged", final=True)
    if facts.trials_max is not None and number > facts.trials_max:
        return Finished(reason=f"iteration {number - 1} is judged", final=False)
    return _proposing(definition, facts, number) or Propose(number=number, seeds=seeds_of(definition, number))


def _proposing(definition: Definition, facts: Facts, number: int) -> Propose | Admit | None:
    """Return what the gate still wants of a trial, or None when its newest proposal is admitted.

    A proposal that was rejected, because what it was bound to has drifted, is drafted anew; so is one that a person
    moves further knobs of.
    """
    proposal = facts.proposals.get(number)
    if facts.moved or proposal is None or proposal.state is State.REJECTED:
        return Propose(number=number, seeds=seeds_of(definition, number))
    if proposal.state is State.OPEN:
        return Admit(proposal=proposal)
    return None


def _golden(definition: Definition, facts: Facts, name: str) -> _Done | Action:
    """Make a golden set, lock it at its first content, and refuse any other."""
    table = definition.golden[name]
    locked = facts.golden.get(name)
    shards_step = _generate(definition, kind="golden-generate", seeds=table.seeds, extra=table.config, trial=0)
    damaged = _golden_damage(shards_step, facts, name, locked)
    if damaged is not None:
        return damaged
    shards = _want(shards_step, facts)
    if not isinstance(shards, _Done):
        return shards
    content = str(shards.fact.artifacts["shards"].meta.get("content", shards.fact.artifacts["shards"].digest))
    expected = locked.digest if locked is not None else table.digest
    if expected is not None and expected != content:
        return GoldenDrift(name=name, expected=expected, found=content)
    if locked is None:
        return LockGolden(name=name, digest=content)
    tokens_step = _tokenise(definition, kind="golden-tokenise", shards=shards, trial=0)
    damaged = _golden_damage(tokens_step, facts, name, locked)
    return damaged if damaged is not None else _want(tokens_step, facts)


def _golden_damage(step: Step, facts: Facts, name: str, locked: GoldenSet | None) -> GoldenDrift | None:
    """Refuse a locked golden set whose files were altered, until a person asks to restore it."""
    fact = facts.step(step.key)
    if locked is None or fact is None or fact.stage is not Stage.SHIPPED or facts.restore_golden:
        return None
    if set(step.spec.artifacts) <= fact.artifacts.keys():
        return None
    return GoldenDrift(name=name, expected=locked.digest, found="files that do not match their manifest")


def _trial_zero(definition: Definition, facts: Facts, golden: Goldens) -> Action:
    """Score the untrained model, so that the first iteration too has a rival."""
    scores = _scores(definition, facts, golden, None, 0)
    if not isinstance(scores, list):
        return scores
    samples = scores[0].feed("samples").digest
    return Judge(number=0, baseline=None, samples=samples, checkpoint=None, steps=_pairs(scores))


def _iteration(definition: Definition, facts: Facts, golden: Goldens, number: int) -> Action:
    """Walk the steps of an open trial to the first that is not done.

    The rival is scored by the same program on the same golden set as the trial. Where neither has changed since, that
    is the step which scored it before, so it costs nothing.
    """
    trained = _trained(definition, facts, number)
    if not isinstance(trained, _Done):
        return trained
    scores = _scores(definition, facts, golden, trained.feed("checkpoint"), number)
    if not isinstance(scores, list):
        return scores
    start = _start_of(definition, facts, number)
    if start is not None and not isinstance(start, Feed):
        return start
    deciding = definition.flywheel.golden
    rival = _scores(definition, facts, {deciding: golden[deciding]}, start, number)
    if not isinstance(rival, list):
        return rival
    made = [step(definition, facts, number) for step in (_shards, _tokens)]
    steps = [*(done for done in made if isinstance(done, _Done)), trained]
    return Judge(
        number=number,
        baseline=rival[0].feed("samples").digest,
        samples=scores[0].feed("samples").digest,
        checkpoint=steps[-1].feed("checkpoint").digest,
        steps=_pairs([*steps, *scores]),
    )


def _pairs(done: Sequence[_Done]) -> tuple[tuple[Step, StepFact], ...]:
    return tuple((each.step, each.fact) for each in done)


def _shards(definition: Definition, facts: Facts, number: int) -> _Done | Action:
    """Return the shards of one iteration's seeds."""
    seeds = str(seeds_of(definition, number))
    return _want(_generate(definition, kind="generate", seeds=seeds, extra={}, trial=number), facts)


def _tokens(definition: Definition, facts: Facts, number: int) -> _Done | Action:
    """Return the tokens of one iteration's seeds."""
    shards = _shards(definition, facts, number)
    if not isinstance(shards, _Done):
        return shards
    return _want(_tokenise(definition, kind="tokenise", shards=shards, trial=number), facts)


def _trained(definition: Definition, facts: Facts, number: int) -> _Done | Action:
    """Return the trial's checkpoint: fine-tuned from the best before it, on everything tokenised until then."""
    tokens: list[_Done] = []
    for each in range(1, number + 1):
        made = _tokens(definition, facts, each)
        if not isinstance(made, _Done):
            return made
        tokens.append(made)
    start = _start_of(definition, facts, number)
    if start is not None and not isinstance(start, Feed):
        return start
    trial = next(trial for trial in facts.trials if trial.number == number)
    return _want(_train(definition, trial=trial, tokens=tokens, start=start), facts)


def _start_of(definition: Definition, facts: Facts, number: int) -> Feed | Action | None:
    """Return the best checkpoint before the trial; one that was damaged is trained again first."""
    best = _best_before(facts, number)
    if best.checkpoint is None:
        return None
    if best.checkpoint not in facts.damaged:
        return Feed(key=f"trial {best.trial}", digest=best.checkpoint)
    made = _trained(definition, facts, best.trial)
    if not isinstance(made, _Done):
        return made
    return Feed(key=f"trial {best.trial}", digest=made.feed("checkpoint").digest)


def _scores(
    definition: Definition, facts: Facts, golden: Goldens, checkpoint: Feed | None, number: int
) -> list[_Done] | Action:
    """Return a checkpoint's scores on these golden sets, in their order; without one the untrained model's.

    Scoring is named by the checkpoint's content, so the same checkpoint is scored once, as candidate or as rival.
    """
    named = None if checkpoint is None else Feed(key=f"checkpoint {checkpoint.digest}", digest=checkpoint.digest)
    scores: list[_Done] = []
    for name, tokens in golden.items():
        kind = _evaluate_kind(definition, name, trained=named is not None)
        scored = _want(_evaluate(definition, kind=kind, golden=tokens, checkpoint=named, trial=number), facts)
        if not isinstance(scored, _Done):
            return scored
        scores.append(scored)
    return scores


def _evaluate_kind(definition: Definition, golden: str, *, trained: bool) -> str:
    kind = "evaluate" if trained else "baseline-evaluate"
    return kind if golden == definition.flywheel.golden else f"{kind}-{golden}"


def _best_before(facts: Facts, number: int) -> Promotion:
    """Return the baseline as it stood when the trial began."""
    return [promotion for promotion in facts.promotions if promotion.trial < number][-1]


def _want(step: Step, facts: Facts) -> _Done | Submit | Await | Failed:
    """Return the step's outputs if they are there, else what brings them closer."""
    fact = facts.step(step.key)
    if fact is None:
        return Submit(step=step, generation=0)
    if fact.stage not in ENDS:
        return Await(step=step, fact=fact)
    if fact.stage is Stage.SHIPPED and set(step.spec.artifacts) <= fact.artifacts.keys():
        return _Done(step=step, fact=fact)
    damaged = fact.stage is Stage.SHIPPED or fact.outcome is Outcome.INPUT_DAMAGED
    # A cancelled job was superseded by another step; when its own is wanted again, it is simply submitted again.
    again = fact.stage is Stage.CANCELLED or (fact.ended_at is not None and fact.ended_at < facts.since)
    if again or (damaged and fact.generation < GENERATIONS_MAX):
        return Submit(step=step, generation=fact.generation + 1)
    return Failed(step=step, fact=fact)


def _generate(definition: Definition, *, kind: str, seeds: str, extra: Mapping[str, Json], trial: int) -> Step:
    table = definition.flywheel.generate
    config: dict[str, Json] = {**table.config, **extra, "seeds": seeds}
    return make_step(definition, kind=kind, table=table, config=config, trial=trial, feeds={}, artifacts=("shards",))


def _tokenise(definition: Definition, *, kind: str, shards: _Done, trial: int) -> Step:
    table = definition.flywheel.tokenise
    return make_step(
        definition,
        kind=kind,
        table=table,
        config={**table.config},
        trial=trial,
        feeds={"shards": (shards.feed("shards"),)},
        artifacts=("tokens",),
    )


def _train(definition: Definition, *, trial: Trial, tokens: Sequence[_Done], start: Feed | None) -> Step:
    feeds: dict[str, tuple[Feed, ...]] = {"tokens": tuple(made.feed("tokens") for made in tokens)}
    if start is not None:
        feeds["checkpoint"] = (start,)
    return make_step(
        definition,
        kind="train",
        table=definition.trainer,
        config=trial.config,
        trial=trial.number,
        feeds=feeds,
        artifacts=("checkpoint",),
        metrics=("train_loss",),
    )


def _evaluate(definition: Definition, *, kind: str, golden: _Done, checkpoint: Feed | None, trial: int) -> Step:
    table = definition.flywheel.evaluate
    feeds: dict[str, tuple[Feed, ...]] = {"golden": (golden.feed("tokens"),)}
    if checkpoint is not None:
        feeds["checkpoint"] = (checkpoint,)
    return make_step(
        definition,
        kind=kind,
        table=table,
        config={**table.config},
        trial=trial,
        feeds=feeds,
        artifacts=("samples",),
        metrics=tuple(definition.metrics),
    )
