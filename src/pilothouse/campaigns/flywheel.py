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
from typing import TypeAlias

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.facts import Facts
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import GoldenSet, Promotion, Trial, TrialState
from pilothouse.campaigns.seed_range import SeedRange, training_range
from pilothouse.campaigns.steps import Feed, Step, StepFact, make_step
from pilothouse.campaigns.wanted import Done, spent_limit, want
from pilothouse.canonical import Json
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest
from pilothouse.proposals.proposal import State


@dataclass(frozen=True, slots=True, kw_only=True)
class FlywheelFacts(Facts):
    """What the flywheel needs to know besides.

    `damaged` holds the artifacts of which no intact copy is left; `restore_golden` that a person asked to make a
    damaged golden set again.
    """

    golden: Mapping[str, GoldenSet]
    damaged: frozenset[ArtifactDigest]
    restore_golden: bool = False


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


Action: TypeAlias = Submit | Await | LockGolden | Propose | Admit | Judge | GoldenDrift | Failed | Finished


Goldens: TypeAlias = dict[str, Done]
"""The tokens of the golden sets by name, the deciding set first."""


def next_action(definition: FlywheelDefinition, facts: FlywheelFacts) -> Action:
    """Return the one thing to do now; a budget that is used up lets no further job begin."""
    action = _next(definition, facts)
    spent = spent_limit(definition, facts.spent_hours)
    if spent is not None and isinstance(action, Submit | Propose | Admit):
        return Finished(reason=spent, final=True)
    return action


def _next(definition: FlywheelDefinition, facts: FlywheelFacts) -> Action:
    golden: Goldens = {}
    for name in golden_names(definition):
        made = locked_golden(definition, facts, name)
        if not isinstance(made, Done):
            return made
        golden[name] = made
    if not facts.trials:
        return _trial_zero(definition, facts, golden)
    open_trials = [trial for trial in facts.trials if trial.state is TrialState.RUNNING]
    if open_trials:
        number = open_trials[0].number
        return _proposing(definition, facts, number) or _iteration(definition, facts, golden, number)
    return _between(definition, facts)


def golden_names(definition: FlywheelDefinition) -> tuple[str, ...]:
    """Return the golden sets, the deciding one first; the others are scored for the report and decide nothing."""
    deciding = definition.flywheel.golden
    return (deciding, *(name for name in definition.golden if name != deciding))


def seeds_of(definition: FlywheelDefinition, number: int) -> SeedRange:
    """Return the data seeds of trial `number`."""
    return training_range(
        number,
        first=definition.flywheel.first_seed,
        length=definition.flywheel.seeds_per_iteration,
        reserved=definition.reserved_ranges(),
    )


def _between(definition: FlywheelDefinition, facts: FlywheelFacts) -> Action:
    """Stop, propose the next trial, or bring its proposal to the gate."""
    number = max(trial.number for trial in facts.trials) + 1
    total = definition.flywheel.iterations
    if total is not None and number > total:
        return Finished(reason=f"all {total} iterations are judged", final=True)
    if facts.trials_max is not None and number > facts.trials_max:
        return Finished(reason=f"iteration {number - 1} is judged", final=False)
    return _proposing(definition, facts, number) or Propose(number=number, seeds=seeds_of(definition, number))


def _proposing(definition: FlywheelDefinition, facts: FlywheelFacts, number: int) -> Propose | Admit | None:
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


def locked_golden(definition: FlywheelDefinition, facts: FlywheelFacts, name: str) -> Done | Action:
    """Make a golden set, lock it at its first content, and refuse any other."""
    table = definition.golden[name]
    locked = facts.golden.get(name)
    shards_step = _generate(definition, kind="golden-generate", seeds=table.seeds, extra=table.config, trial=0)
    damaged = _golden_damage(shards_step, facts, name, locked)
    if damaged is not None:
        return damaged
    shards = want(shards_step, facts)
    if not isinstance(shards, Done):
        return shards
    content = str(shards.fact.artifacts["shards"].meta.get("content", shards.fact.artifacts["shards"].digest))
    expected = locked.digest if locked is not None else table.digest
    if expected is not None and expected != content:
        return GoldenDrift(name=name, expected=expected, found=content)
    if locked is None:
        return LockGolden(name=name, digest=content)
    tokens_step = _tokenise(definition, kind="golden-tokenise", shards=shards, trial=0)
    damaged = _golden_damage(tokens_step, facts, name, locked)
    return damaged if damaged is not None else want(tokens_step, facts)


def _golden_damage(step: Step, facts: FlywheelFacts, name: str, locked: GoldenSet | None) -> GoldenDrift | None:
    """Refuse a locked golden set whose files were altered, until a person asks to restore it."""
    fact = facts.step(step.key)
    if locked is None or fact is None or fact.stage is not Stage.SHIPPED or facts.restore_golden:
        return None
    if set(step.spec.artifacts) <= fact.artifacts.keys():
        return None
    return GoldenDrift(name=name, expected=locked.digest, found="files that do not match their manifest")


def _trial_zero(definition: FlywheelDefinition, facts: FlywheelFacts, golden: Goldens) -> Action:
    """Score the untrained model, so that the first iteration too has a rival."""
    scores = _scores(definition, facts, golden, None, 0)
    if not isinstance(scores, list):
        return scores
    samples = scores[0].feed("samples").digest
    return Judge(number=0, baseline=None, samples=samples, checkpoint=None, steps=_pairs(scores))


def _iteration(definition: FlywheelDefinition, facts: FlywheelFacts, golden: Goldens, number: int) -> Action:
    """Walk the steps of an open trial to the first that is not done.

    The rival is scored by the same program on the same golden set as the trial. Where neither has changed since, that
    is the step which scored it before, so it costs nothing.
    """
    trained = _trained(definition, facts, number)
    if not isinstance(trained, Done):
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
    made = [step(definition, facts, number) for step in (_shards, iteration_tokens)]
    steps = [*(done for done in made if isinstance(done, Done)), trained]
    return Judge(
        number=number,
        baseline=rival[0].feed("samples").digest,
        samples=scores[0].feed("samples").digest,
        checkpoint=steps[-1].feed("checkpoint").digest,
        steps=_pairs([*steps, *scores]),
    )


def _pairs(done: Sequence[Done]) -> tuple[tuple[Step, StepFact], ...]:
    return tuple((each.step, each.fact) for each in done)


def _shards(definition: FlywheelDefinition, facts: FlywheelFacts, number: int) -> Done | Action:
    """Return the shards of one iteration's seeds."""
    seeds = str(seeds_of(definition, number))
    return want(_generate(definition, kind="generate", seeds=seeds, extra={}, trial=number), facts)


def iteration_tokens(definition: FlywheelDefinition, facts: FlywheelFacts, number: int) -> Done | Action:
    """Return the tokens of one iteration's seeds."""
    shards = _shards(definition, facts, number)
    if not isinstance(shards, Done):
        return shards
    return want(_tokenise(definition, kind="tokenise", shards=shards, trial=number), facts)


def _trained(definition: FlywheelDefinition, facts: FlywheelFacts, number: int) -> Done | Action:
    """Return the trial's checkpoint: fine-tuned from the best before it, on everything tokenised until then."""
    tokens: list[Done] = []
    for each in range(1, number + 1):
        made = iteration_tokens(definition, facts, each)
        if not isinstance(made, Done):
            return made
        tokens.append(made)
    start = _start_of(definition, facts, number)
    if start is not None and not isinstance(start, Feed):
        return start
    trial = next(trial for trial in facts.trials if trial.number == number)
    return want(_train(definition, trial=trial, tokens=tokens, start=start), facts)


def _start_of(definition: FlywheelDefinition, facts: FlywheelFacts, number: int) -> Feed | Action | None:
    """Return the best checkpoint before the trial; one that was damaged is trained again first."""
    best = _best_before(facts, number)
    if best.checkpoint is None:
        return None
    if best.checkpoint not in facts.damaged:
        return Feed(key=f"trial {best.trial}", digest=best.checkpoint)
    made = _trained(definition, facts, best.trial)
    if not isinstance(made, Done):
        return made
    return Feed(key=f"trial {best.trial}", digest=made.feed("checkpoint").digest)


def _scores(
    definition: FlywheelDefinition, facts: FlywheelFacts, golden: Goldens, checkpoint: Feed | None, number: int
) -> list[Done] | Action:
    """Return a checkpoint's scores on these golden sets, in their order; without one the untrained model's.

    Scoring is named by the checkpoint's content, so the same checkpoint is scored once, as candidate or as rival.
    """
    named = None if checkpoint is None else Feed(key=f"checkpoint {checkpoint.digest}", digest=checkpoint.digest)
    scores: list[Done] = []
    for name, tokens in golden.items():
        kind = _evaluate_kind(definition, name, trained=named is not None)
        scored = want(evaluate_step(definition, kind=kind, golden=tokens, checkpoint=named, trial=number), facts)
        if not isinstance(scored, Done):
            return scored
        scores.append(scored)
    return scores


def _evaluate_kind(definition: FlywheelDefinition, golden: str, *, trained: bool) -> str:
    kind = "evaluate" if trained else "baseline-evaluate"
    return kind if golden == definition.flywheel.golden else f"{kind}-{golden}"


def _best_before(facts: FlywheelFacts, number: int) -> Promotion:
    """Return the baseline as it stood when the trial began."""
    return [promotion for promotion in facts.promotions if promotion.trial < number][-1]


def _generate(definition: FlywheelDefinition, *, kind: str, seeds: str, extra: Mapping[str, Json], trial: int) -> Step:
    table = definition.flywheel.generate
    config: dict[str, Json] = {**table.config, **extra, "seeds": seeds}
    return make_step(
        definition,
        kind=kind,
        table=table,
        config=config,
        trial=trial,
        feeds={},
        artifacts=("shards",),
        seed=definition.flywheel.seed,
    )


def _tokenise(definition: FlywheelDefinition, *, kind: str, shards: Done, trial: int) -> Step:
    table = definition.flywheel.tokenise
    return make_step(
        definition,
        kind=kind,
        table=table,
        config={**table.config},
        trial=trial,
        feeds={"shards": (shards.feed("shards"),)},
        artifacts=("tokens",),
        seed=definition.flywheel.seed,
    )


def _train(definition: FlywheelDefinition, *, trial: Trial, tokens: Sequence[Done], start: Feed | None) -> Step:
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
        seed=definition.flywheel.seed,
    )


def evaluate_step(
    definition: FlywheelDefinition, *, kind: str, golden: Done, checkpoint: Feed | None, trial: int
) -> Step:
    """Return the step that scores a checkpoint, or without one the untrained model, on a golden set."""
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
        seed=definition.flywheel.seed,
    )
