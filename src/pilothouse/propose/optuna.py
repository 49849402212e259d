"""Proposals by Optuna's samplers: asked anew each time over the whole history, with nothing kept in between.

Each ask builds a study in memory from what was tried and seeds the sampler with the search's seed, so a loop that was
killed goes on with the same proposal. Optuna's own storage is not used: the campaign's database is the truth.

A config that failed by itself is told as completed, as bad as the worst, and as breaking a constraint, since samplers
look past failed trials and would come back. What was refused or lost says nothing about its config: told as failed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

from pilothouse.errors import UsageError
from pilothouse.evidence.verdict import Direction
from pilothouse.proposals.choosing import Overrides, choose, suggest
from pilothouse.proposals.draws import Draws
from pilothouse.proposals.feasibility import failed_by_itself, ran
from pilothouse.proposals.random_search import ATTEMPTS, random_moves
from pilothouse.proposals.search import Search, Suggestion, Tried
from pilothouse.propose.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

ASKS = 8
"""How many points are asked for before chance takes over: each may be tried, refused or held back."""

FIRST_RANDOM = 5
"""How many configs must have run before a model of them is better than chance."""

CMA_FIRST_RANDOM = 10
"""CMA-ES begins from the best tenth of what ran, which has to hold one at least."""

CMA_KNOBS_LEAST = 2
"""CMA-ES learns how knobs go together, so it wants two numbers."""

BREAKS = (ValueError, AssertionError, RuntimeError, ArithmeticError)
"""What samplers raise over a history that they cannot take: of numbers all alike, or hardly any."""

SEEDS = 2**32
CONSTRAINT = "runs to its end"


class Sampler(StrEnum):
    """The samplers there are."""

    TPE = "tpe"
    CMA_ES = "cma-es"
    GP = "gp"


NEEDS = {Sampler.TPE: ("optuna",), Sampler.CMA_ES: ("optuna", "cmaes"), Sampler.GP: ("optuna", "torch")}
"""The packages that each sampler imports; Optuna's Gaussian process is written in torch, which no extra here brings."""


@dataclass(frozen=True, slots=True)
class OptunaProposer:
    """Asks one of Optuna's samplers, and brings its point near."""

    sampler: Sampler = Sampler.TPE

    def __post_init__(self) -> None:
        missing = [package for package in NEEDS[self.sampler] if importlib.util.find_spec(package) is None]
        if missing:
            install = "`torch`" if missing == ["torch"] else "`pilothouse[optuna]`"
            raise UsageError(
                f"the proposer {self.sampler} needs {' and '.join(missing)}, which is not installed",
                fix=f"install {install}, or name another proposer: one-axis, random or surrogate need nothing more",
            )

    @property
    def name(self) -> str:
        """Return the source that its proposals are recorded under."""
        return self.sampler.value

    def propose(self, search: Search) -> Suggestion | None:
        """Return the sampler's next change, one by chance where it has none to offer, or None where nothing is left."""
        space = Space(search)
        troubles: list[str] = []
        asked = _asked(search, space, self.sampler, troubles) if space.reaches or space.choices else iter(())
        choice = choose(search, chain(asked, random_moves(search, ATTEMPTS)))
        if choice is None:
            return None
        known = sum(1 for tried in search.history if ran(tried))
        rationale = f"{self.sampler} over {known} configs that ran, brought within one proposal's reach"
        if troubles:
            rationale = f"by chance, as {self.sampler} over {known} configs that ran {troubles[0]}"
        return suggest(search, choice, source=self.name, rationale=rationale)


def _asked(search: Search, space: Space, sampler: Sampler, troubles: list[str]) -> Iterator[Overrides]:
    """Return changes that the sampler suggests, each with a seed of its own.

    A sampler that breaks over a history ends the asking and is told in `troubles`: a night is not lost to it.
    """
    import optuna  # noqa: PLC0415  an extra, and slow to import

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = _distributions(space)
    trials = _trials(search, space, distributions)
    study = optuna.create_study(
        direction="minimize" if search.direction is Direction.MIN else "maximize",
        storage=optuna.storages.InMemoryStorage(),
    )
    study.add_trials(trials)
    draws = Draws(search.seed, "optuna")
    for _ in range(ASKS):
        study.sampler = _sampler(sampler, seed=draws.below(SEEDS), study=study, space=space)
        try:
            trial = study.ask(distributions)
        except BREAKS as problem:
            troubles.append(f"broke ({type(problem).__name__}: {problem})")
            return
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        yield space.change_toward(trial.params, draws)


def _sampler(sampler: Sampler, *, seed: int, study: Study, space: Space) -> BaseSampler:
    from optuna.samplers import CmaEsSampler, GPSampler, TPESampler  # noqa: PLC0415  an extra

    # One knob at a time: only some of the point's knobs will move, so each has to be good by itself.
    tree = TPESampler(seed=seed, n_startup_trials=FIRST_RANDOM, multivariate=False)
    with warnings.catch_warnings():
        # Starting from past trials is marked experimental, and it is what this needs: CMA-ES without memory.
        warnings.simplefilter("ignore")
        match sampler:
            case Sampler.CMA_ES if len(space.reaches) >= CMA_KNOBS_LEAST:
                source = _numbers_alone(study, space)
                return CmaEsSampler(
                    seed=seed,
                    source_trials=source if len(source) >= CMA_FIRST_RANDOM else None,
                    n_startup_trials=CMA_FIRST_RANDOM,
                    independent_sampler=tree,
                    warn_independent_sampling=False,
                )
            case Sampler.GP:
                return GPSampler(seed=seed, n_startup_trials=FIRST_RANDOM, warn_independent_sampling=False)
            case Sampler.TPE | Sampler.CMA_ES:
                return tree


def _numbers_alone(study: Study, space: Space) -> list[FrozenTrial]:
    """Return the completed trials without their switches, of which CMA-ES knows nothing."""
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415  an extra

    return [
        create_trial(
            params={name: trial.params[name] for name in space.reaches},
            distributions={name: trial.distributions[name] for name in space.reaches},
            value=trial.value,
        )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ]


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution  # noqa: PLC0415  an extra

    found: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in space.reaches}
    for name, values in space.choices.items():
        found[name] = CategoricalDistribution(list(range(len(values))))
    return found


def _trials(search: Search, space: Space, distributions: dict[str, BaseDistribution]) -> list[FrozenTrial]:
    """Return the parent and everything that was tried as finished trials."""
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415  an extra

    values = [tried.value for tried in search.history if ran(tried) and tried.value is not None]
    known = values if search.value is None else [search.value, *values]
    worst = (max if search.direction is Direction.MIN else min)(known, default=0.0)
    baseline = Tried(number=0, source="", config=search.parent, changes=(), outcome=None, value=search.value)
    trials = []
    for tried in (baseline, *search.history):
        point = space.point_of(tried.config)
        if point is None:
            continue
        failed, complete = failed_by_itself(tried), ran(tried) or failed_by_itself(tried)
        trials.append(
            create_trial(
                params=dict(point),
                distributions=distributions,
                state=TrialState.COMPLETE if complete else TrialState.FAIL,
                value=(worst if failed else tried.value) if complete else None,
                constraints={CONSTRAINT: 1.0 if failed else -1.0} if complete else None,
            )
        )
    return trials
