"""A proposal that waits at a world's gate, and a decision about it."""

from __future__ import annotations

from typing import Any

from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.ids import ProposalId
from pilothouse.operations.ferry_draft import Drafting, draft_ferry
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal
from pilothouse.proposals.window import Commits
from tests.campaigns.ferry_world import TEXT, definition_of
from tests.web.world import PRODUCT, World


def propose(world: World, identity: str = "proposal-1", *, commit: str = "c0", text: str = TEXT) -> Proposal:
    """Return the first ferry's proposal, as it was drafted into the world's store."""
    definition = definition_of(text.replace('kind = "ferry"', f'kind = "ferry"\nproduct = "{PRODUCT}"'))
    now = world.clock.now()
    drafting = Drafting(
        number=1,
        due=None,
        material=Material(commits=Commits(head=commit), issues=(), issues_from="none"),
        asked=Asked(),
        template=None,
        code_commit=commit,
        identity=ProposalId(identity),
    )

    def act(tx: Transaction) -> Proposal:
        campaign = open_campaign(tx, definition, now=now)
        return draft_ferry(tx, drafting, definition=definition, campaign=campaign, now=now).proposal

    return world.engine.apply(act)


def decide(world: World, proposal: Proposal, verb: str, *, token: str | None, digest: str = "", **body: Any) -> Any:
    """Return the answer to a decision about what is proposed, or about another digest."""
    seen = digest or proposal.subject.digest()
    return world.ask(
        "POST", f"/proposals/{proposal.id}/{verb}", token=token, json=body, headers={"If-Match": f'"{seen}"'}
    )
