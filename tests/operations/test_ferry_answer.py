"""What becomes of an agent's answer to a ferry: taken within every rule, or an incident beside the rules' own draft."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import START, TEXT, definition_of
from tests.operations.test_ferry_redraft import NAME, PRODUCT, campaign_of

from pilothouse.campaigns.ferry import relaunch_words
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.canonical import Json
from pilothouse.errors import OperationFailed, Refused, StorageFailed
from pilothouse.ids import ProposalId
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.ferry_answer import answer_to, money_refusal
from pilothouse.operations.ferry_draft import Drafting, draft_ferry, question_for
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.ports.proposer import Answered, Stopped, never
from pilothouse.proposals.agent_run import AgentTold
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.proposals.proposal import Proposal, Risk
from pilothouse.proposals.search import Suggestion
from pilothouse.proposals.window import Commits
from pilothouse.store.sqlite.store import SqliteStore

DEFINITION = definition_of()
TOLD = AgentTold(record={"runner": "command", "cost_source": "estimated"}, crossed=(), refusal="", charged_usd=0.5)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return a store with the campaign."""
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        open_campaign(tx, DEFINITION, now=START)
    yield store
    store.close()


def suggestion(overrides: dict[str, Json]) -> Suggestion:
    """Return what an agent suggests."""
    return Suggestion(
        overrides=overrides,
        source="agent:command",
        rationale="its reason",
        hypothesis="its hypothesis",
        why_not_identical="its difference",
        risk=Risk.HIGH,
        rollback="its way back",
    )


def drafting(number: int, answered: Answered | None, *, commit: str = "c0", guidance: str = "") -> Drafting:
    """Return the draft of ferry 1 as proposal `number`."""
    return Drafting(
        number=1,
        due=None,
        material=Material(commits=Commits(head=commit), issues=(), issues_from="none", guidance=guidance),
        asked=Asked(),
        template=None,
        code_commit=commit,
        identity=ProposalId(f"proposal-{number}"),
        again=True,
        answered=answered,
    )


def propose(store: SqliteStore, number: int, answered: Answered | None, *, commit: str = "c0") -> Proposal:
    """Draft ferry 1 with this answer."""
    with store.write() as tx:
        made = drafting(number, answered, commit=commit)
        return draft_ferry(tx, made, definition=DEFINITION, campaign=campaign_of(tx), now=START).proposal


def test_an_answer_keeps_its_own_words_also_when_its_proposal_has_drifted(store: SqliteStore) -> None:
    """Hypothesis, way back and a risk above the knob's; the agent is not asked again for the same wish."""
    first = propose(store, 1, Answered(source="agent:command", suggestion=suggestion({"lr": 0.05}), told=TOLD))
    with store.write() as tx:
        admit_proposal(tx, first, definition=DEFINITION, campaign=campaign_of(tx), code_commit="c1", now=START)
        asked = question_for(tx, drafting(2, None, commit="c1"), definition=DEFINITION, campaign=campaign_of(tx))

    again = propose(store, 2, None, commit="c1")

    assert asked is None
    for each in (first, again):
        assert (each.source, each.risk, each.hypothesis) == ("agent:command", Risk.HIGH, "its hypothesis")
        assert (each.rollback, each.why_not_identical) == ("its way back", "its difference")
    assert again.subject.code_commit == "c1"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"lr": 1.0}, "further"),
        ({"lr": 1e9}, "outside its range"),
        ({"rate": 1.0}, "rate"),
        ({"lr": 0.1}, "nothing changes"),
        ({"seed": 4}, "seed"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_an_incident_and_the_rules_draft(
    store: SqliteStore, overrides: dict[str, Json], words: str
) -> None:
    """The proposal is the rules' own, open, and says whose answer was not taken and why."""
    made = propose(store, 1, Answered(source="agent:command", suggestion=suggestion(overrides), told=TOLD))

    with store.read() as tx:
        (run,), (incident,) = tx.agents.runs(PRODUCT, NAME), tx.agents.incidents(PRODUCT, NAME)
    assert (made.source, made.changes) == ("rules", ())
    assert "the answer of agent:command was not taken" in made.rationale
    assert words in made.rationale
    assert (incident.diagnosis, incident.response) == ("guardrail", "not taken: the rules drafted this")
    assert run.charged_usd == 0.5


def test_an_agent_s_wish_that_the_file_no_longer_allows_gives_way_to_the_rules_when_it_has_drifted(
    store: SqliteStore,
) -> None:
    """The person who narrowed the file is not stopped by an answer of yesterday."""
    first = propose(store, 1, Answered(source="agent:command", suggestion=suggestion({"lr": 0.05}), told=TOLD))
    with store.write() as tx:
        admit_proposal(tx, first, definition=DEFINITION, campaign=campaign_of(tx), code_commit="c1", now=START)
    narrower = definition_of(TEXT.replace("min = 1e-6", "min = 0.08"))

    with store.write() as tx:
        made = drafting(2, None, commit="c1")
        again = draft_ferry(tx, made, definition=narrower, campaign=campaign_of(tx), now=START).proposal

    assert first.source == "agent:command"
    assert (again.source, again.changes) == ("rules", ())
    assert "the answer of agent:command was not taken (knob lr is set to 0.05, outside its range" in again.rationale


@pytest.mark.parametrize("overrides", [{"lr": 0.05}, {}])
def test_an_answer_that_reads_as_a_launch_after_a_patch_is_refused(
    store: SqliteStore, overrides: dict[str, Json]
) -> None:
    """By these words a ferry that has failed is launched again, with no patch."""
    said = replace(suggestion(overrides), why_not_identical=f"{relaunch_words(2)} for this failure: none")

    made = propose(store, 1, Answered(source="agent:command", suggestion=said, told=TOLD))

    assert made.source == "rules"
    assert not made.why_not_identical.startswith(relaunch_words(2))
    assert "begins with 'relaunch'" in made.rationale


class Broken:
    """An agent that cannot be asked."""

    source = "agent:command"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    def draft(self, question: FerryQuestion, stopped: Stopped = never) -> Answered:
        """Raise why."""
        del question, stopped
        self.asked += 1
        raise self.error


def test_an_agent_that_cannot_be_asked_is_an_incident_without_a_run(store: SqliteStore) -> None:
    """Nothing ran, so nothing was spent; a disk that fails is no answer at all."""
    with store.write() as tx:
        question = question_for(tx, drafting(1, None), definition=DEFINITION, campaign=campaign_of(tx), always=True)
    assert question is not None

    answered = answer_to(question, Broken(OperationFailed("no such program", fix="install it")), never, None)
    made = propose(store, 1, answered)
    with pytest.raises(StorageFailed):
        answer_to(question, Broken(StorageFailed("disk full", fix="free it")), never, None)

    with store.read() as tx:
        assert tx.agents.runs(PRODUCT, NAME) == []
        (incident,) = tx.agents.incidents(PRODUCT, NAME)
    assert (incident.diagnosis, incident.evidence) == ("failed", "no such program; install it")
    assert "no such program; install it" in made.rationale


def test_nobody_is_asked_who_could_not_be_paid(store: SqliteStore) -> None:
    """A budget that is used up, and one of which nobody knows whether it is."""
    text = TEXT.replace("[monitor]", "[budget]\nusd = 1.0\nusd_per_hour = 1.0\n\n[monitor]")
    agent = '\n[ferry.agent]\ncommand = ["python", "agent.py"]\ncost_estimate_usd = 0.5\n'
    definition = definition_of(text + agent)
    with store.write() as tx:
        question = question_for(tx, drafting(1, None), definition=definition, campaign=campaign_of(tx), always=True)
    assert question is not None

    assert broke(store, definition) is None
    propose(store, 1, Answered(source="agent:command", suggestion=suggestion({"lr": 0.05}), told=TOLD))
    assert broke(store, definition) is None
    propose(store, 2, Answered(source="agent:command", suggestion=suggestion({"lr": 0.05}), told=TOLD))
    used = broke(store, definition)
    agent_asked = Broken(AssertionError("it was asked"))
    answered = answer_to(question, agent_asked, never, used)

    assert used is not None
    assert "budget.usd is used up" in used.message
    assert (answered.refusal, agent_asked.asked) == (used, 0)


def broke(store: SqliteStore, definition: FerryDefinition) -> Refused | None:
    """Return why nobody may be paid."""
    with store.read() as tx:
        return money_refusal(tx, definition, campaign_of(tx))


def test_what_a_person_asks_for_and_what_a_rule_settles_is_no_agent_s(store: SqliteStore) -> None:
    """Unless somebody wants it asked in any case."""
    with store.write() as tx:
        campaign = campaign_of(tx)
        settled = question_for(tx, drafting(1, None), definition=DEFINITION, campaign=campaign)
        named = question_for(tx, drafting(1, None, guidance="lr=0.05"), definition=DEFINITION, campaign=campaign)
        always = question_for(tx, drafting(1, None), definition=DEFINITION, campaign=campaign, always=True)

    assert settled is named is None
    assert always is not None
    assert [each.candidate.overrides.keys() for each in always.ranked] != []
