"""The proposers that a campaign file can name, and that need nothing but a name."""

from __future__ import annotations

from pilothouse.errors import BadValue
from pilothouse.ports.proposer import Proposer
from pilothouse.proposals.one_axis import OneAxis
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.propose.optuna import OptunaProposer, Sampler
from pilothouse.propose.surrogate import Surrogate

NAMES = (OneAxis().name, RandomSearch().name, Surrogate().name, *(sampler.value for sampler in Sampler))

ASKING = ("agent", "hybrid")
"""The names of those that ask an agent, which takes the table `[autopilot.agent]` as well (`wiring.proposers`)."""


def proposer_named(name: str) -> Proposer:
    """Return the proposer of this name.

    An unknown name raises `BadValue`, and one whose packages are not installed `UsageError`.
    """
    plain: tuple[OneAxis | RandomSearch | Surrogate, ...] = (OneAxis(), RandomSearch(), Surrogate())
    for proposer in plain:
        if proposer.name == name:
            return proposer
    if name not in NAMES:
        raise BadValue(f"there is no proposer {name!r}", fix=f"name one of {', '.join(NAMES)}")
    return OptunaProposer(Sampler(name))
