"""What an agent has cost ends the asking, and an unknown cost goes to a person where there is a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilothouse.campaigns.action import Finished
from pilothouse.campaigns.autopilot import Action, Ask, KeepFloor, next_action
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.proposals.agent_run import Spending
from tests.campaigns.pilot_world import PilotWorld, pilot_definition

WAIVED = '\n[gate]\napproval = "waived"\nwaived_by = "ada"\nreason = "a test"\n'
LIMITED = "cost_limit_usd = 2.0\ncost_estimate_usd = 0.5\n"
BUDGET = "\n[budget]\nusd = 3.0\nusd_per_hour = 0.0\n"


def asked(agents: Spending, *, table: str = LIMITED, proposer: str = "agent", budget: str = "") -> Action:
    """Return what the loop does when a proposal is wanted and agents have cost so much."""
    text = f"\n[autopilot]\nproposer = '{proposer}'\n[autopilot.agent]\ncommand = ['a']\n{table}"
    world = PilotWorld(definition=pilot_definition(extra=WAIVED + budget + text), trials_max=3)
    world.until(KeepFloor)
    return next_action(world.definition, replace(world.facts(), agents=agents))


@pytest.mark.parametrize("spent", [Spending(), Spending(usd=1.99)])
def test_an_agent_is_asked_while_there_is_money(spent: Spending) -> None:
    """Up to its limit."""
    assert asked(spent) == Ask(number=1)


def test_a_limit_that_is_used_up_finishes_the_campaign() -> None:
    """Like any other budget; a hybrid's other source goes on."""
    ending = asked(Spending(usd=2.0))

    assert isinstance(ending, Finished)
    assert "cost_limit_usd is used up: 2.000 of 2" in ending.reason
    assert asked(Spending(usd=2.0), proposer="hybrid") == Ask(number=1)


def test_what_agents_cost_counts_in_the_budget() -> None:
    """Beside what the hours cost."""
    ending = asked(Spending(usd=3.0), table="cost_estimate_usd = 0.5\n", budget=BUDGET)

    assert isinstance(ending, Finished)
    assert "budget.usd is used up: 3.000 of 3" in ending.reason


@pytest.mark.parametrize(("table", "budget"), [(LIMITED, ""), ("cost_estimate_usd = 0.5\n", BUDGET)])
def test_an_unknown_cost_under_a_limit_goes_to_a_person(table: str, budget: str) -> None:
    """It is never taken for zero; without a limit it holds nobody up."""
    ending = asked(Spending(usd=0.5, unknown=2), table=table, budget=budget)

    assert isinstance(ending, Stuck)
    assert "2 of the agent's runs" in ending.reason
    assert asked(Spending(unknown=2), table="") == Ask(number=1)
