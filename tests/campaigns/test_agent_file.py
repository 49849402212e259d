"""A campaign file that names an agent is read, and one that contradicts itself is refused with the line and a mend."""

from __future__ import annotations

import pytest

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.errors import BadCampaignFile
from tests.campaigns.pilot_world import TEXT, pilot_definition

COMMAND = 'command = ["python", "agent.py"]\n'
PAID = "\n[budget]\nusd = 5.0\nusd_per_hour = 1.0\n"


def asking(table: str, *, proposer: str = "agent", more: str = "") -> tuple[str, str]:
    """Return the change that names an agent."""
    text = f"[autopilot]\nproposer = '{proposer}'\n[autopilot.agent]\n{table}{more}"
    return ("[decision]\n", f"{text}\n[decision]\n")


def definition_with(table: str, *, proposer: str = "agent", more: str = "") -> AutopilotDefinition:
    """Return the definition that names this agent."""
    return pilot_definition(asking(table, proposer=proposer, more=more))


def test_a_command_needs_nothing_else() -> None:
    """The defaults are those that a person would have written: no network, no variables, a quarter of an hour."""
    agent = definition_with(COMMAND).autopilot.agent

    assert agent is not None
    assert (agent.preset, agent.reaches_network(), agent.variables, agent.limits.time) == ("command", False, [], 900.0)
    assert agent.unconfined is None


def test_a_preset_reaches_its_model() -> None:
    """Its own key's variables pass, so the table names none."""
    agent = definition_with("preset = 'codex'\nmodel = 'm'\nlimits = { time = '5m' }\n").autopilot.agent

    assert agent is not None
    assert agent.reaches_network()
    assert agent.limits.time == 300.0


def test_what_the_agent_may_cost_belongs_to_the_ceiling_of_an_approval() -> None:
    """So a raised limit asks for another yes; a file without one has the ceiling that it had."""
    limited = definition_with("preset = 'claude'\ncost_limit_usd = 3.0\n")

    assert limited.ceilings() == {"agent_usd": 3.0}
    assert definition_with(COMMAND).ceilings() == {}


@pytest.mark.parametrize(
    ("table", "proposer", "words", "line"),
    [
        ("", "hybrid", "none is named: add \\[autopilot.agent\\]", "[autopilot]"),
        (COMMAND, "tpe", "never asked by proposer 'tpe'", "[autopilot]"),
        (COMMAND + "share = 0.2\n", "agent", "share and base are a hybrid's", "[autopilot]"),
        (COMMAND + "share = 1.0\n", "hybrid", "less than 1", "share"),
        (COMMAND + "base = 'agent'\n", "hybrid", "one-axis", "base"),
        ("model = 'm'\n", "agent", "give command", "[autopilot.agent]"),
        ("preset = 'oracle'\n", "agent", "oracle", "preset"),
        ("preset = 'codex'\n" + COMMAND, "agent", "take yours away", "[autopilot.agent]"),
        (COMMAND + "model = 'm'\n", "agent", "name it within command", "[autopilot.agent]"),
        ("preset = 'codex'\nvariables = ['KEY']\n", "agent", "take variables away", "[autopilot.agent]"),
        (COMMAND + "variables = ['PILOTHOUSE_TOKEN']\n", "agent", "may hold its tokens", "[autopilot.agent]"),
        (COMMAND + "variables = ['lower']\n", "agent", "pattern", "variables"),
        ("preset = 'claude'\nnetwork = false\n", "agent", "talks to a model", "[autopilot.agent]"),
        (COMMAND + "ports = [443]\n", "agent", "ports open nothing", "[autopilot.agent]"),
        (COMMAND + "network = true\nports = [0]\n", "agent", "greater than or equal to 1", "ports"),
        (COMMAND + "cost_limit_usd = 1.0\n", "agent", "give cost_estimate_usd", "[autopilot.agent]"),
        (COMMAND + "cost_limit_usd = 0.0\n", "agent", "greater than 0", "cost_limit_usd"),
        (COMMAND + "tokens = 9\n", "agent", "unknown key", "tokens"),
        (COMMAND + "[autopilot.agent.limits]\ntime = '0s'\n", "agent", "longer than nothing", "time"),
        (COMMAND + "[autopilot.agent.limits]\nprocesses = 0\n", "agent", "greater than or equal to 1", "processes"),
        (COMMAND + "[autopilot.agent.unconfined]\nby = 'ada'\nreason = 'x'\n", "agent", "'until' is missing|until", ""),
        (
            COMMAND + "[autopilot.agent.unconfined]\nby = 'ada'\nreason = 'x'\nuntil = '2026-12-31'\n",
            "agent",
            "no time with a zone",
            "until",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_line_and_a_mend(table: str, proposer: str, words: str, line: str) -> None:
    """A rule over a table names the line of its head."""
    head = "" if not table else f"[autopilot.agent]\n{table}"
    text = TEXT.replace("[decision]\n", f"[autopilot]\nproposer = '{proposer}'\n{head}\n[decision]\n")
    lines = enumerate(text.splitlines(), 1)
    expected = next((number for number, each in lines if line and each.startswith(line)), None)
    change = ("[decision]\n", f"[autopilot]\nproposer = '{proposer}'\n{head}\n[decision]\n")

    with pytest.raises(BadCampaignFile, match=words) as refused:
        pilot_definition(change)

    assert refused.value.fix
    assert not line or refused.value.line == expected


@pytest.mark.parametrize(
    ("table", "close"),
    [("limit = { time = '1m' }\n", "limits"), ("[autopilot.agent.limits]\ntimes = '1m'\n", "time")],
)
def test_an_unknown_key_of_a_table_that_may_be_left_out_has_its_nearest_one(table: str, close: str) -> None:
    """As in every other table."""
    with pytest.raises(BadCampaignFile, match="unknown key") as refused:
        definition_with(COMMAND + table)

    assert refused.value.fix == f"did you mean {close!r}?"


def test_a_budget_in_dollars_wants_to_know_what_the_agent_costs() -> None:
    """An unknown cost is never taken for zero: it is told by the agent, or estimated by the file."""
    with pytest.raises(BadCampaignFile, match=r"cost_estimate_usd, 0 for one that costs nothing"):
        definition_with(COMMAND, more=PAID)

    for table in (COMMAND + "cost_estimate_usd = 0.0\n", "preset = 'claude'\n"):
        assert definition_with(table, more=PAID).budget.usd == 5.0
