"""What became of the patches that an agent was asked for."""

from __future__ import annotations

from pilothouse.campaigns.record import Campaign
from pilothouse.ids import JobId
from pilothouse.ports.store import Transaction
from pilothouse.proposals.agent_run import AgentRun

ABOUT = "patch after "
"""How it is named what an agent was asked for: the failed launch follows."""


def patches_of(tx: Transaction, campaign: Campaign, *, least: int) -> dict[JobId, str]:
    """Return what became of each patch, in words, by failed launch, of ferries from a least one on."""
    found = tx.agents.runs(campaign.product, campaign.name, least=least)
    runs = [each for each in found if each.about.startswith(ABOUT)]
    return {JobId(each.about.removeprefix(ABOUT)): _words(each) for each in runs}


def _words(run: AgentRun) -> str:
    branch = run.record.get("branch")
    if branch:
        return f"an agent proposes a patch: read it with `git show {branch}`, take it with `git merge {branch}`"
    return f"the agent's patch was not taken ({run.record['refusal']})"
