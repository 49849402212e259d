"""What a hostile agent leaves behind instead of an answer: nothing of it is taken, and each attempt is told."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.propose.agents import ANSWER, LIMITS, WRITES, a_search, proposer

from pilothouse.canonical import Json, digest
from pilothouse.errors import BadValue, NotApproved, OperationFailed, OutOfRange, PilothouseError, Refused
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.draft import Draft, draft
from pilothouse.proposals.gate import admit
from pilothouse.proposals.proposal import Approval, Subject
from pilothouse.propose import agent_context
from pilothouse.propose.sandbox.level import Level, Rung
from pilothouse.propose.sandbox.plan import Breach

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def subject(config: Mapping[str, Json]) -> Subject:
    """Return what an approval of this config is bound to."""
    return Subject(
        config_digest=digest(dict(config)), code_commit="c", evaluation_digest="e", cost_ceiling="1", pool="any"
    )


def writing(overrides: str) -> str:
    """Return lines that write an answer with these overrides, spelt as they are."""
    text = json.dumps({**ANSWER, "overrides": "HERE"}).replace('"HERE"', overrides)
    return f"open('proposal.json', 'w').write({text!r})"


@pytest.mark.parametrize(
    ("source", "says", "breach"),
    [
        ("import os; os.symlink('/etc/passwd', 'proposal.json')", "no plain file", Breach.FOREIGN_FILE),
        (f"{WRITES}; os.rename('proposal.json', 'x'); os.symlink('x', 'proposal.json')", "no plain", Breach.ANSWER),
        (f"{WRITES}; os.link('proposal.json', 'second')", "no plain file", Breach.FOREIGN_FILE),
        ("import os; os.mkdir('proposal.json')", "no plain file", Breach.ANSWER),
        ("open('proposal.json', 'w').write('x' * 70000)", "more than", Breach.ANSWER),
        ("open('proposal.json', 'wb').truncate(60 << 20)", "more than", Breach.ANSWER),
        ("open('proposal.json', 'w').write('[' * 60000)", "nests deeper", Breach.ANSWER),
        ("open('proposal.json', 'w').write('{\"a\":' * 10000)", "nests deeper", Breach.ANSWER),
        (writing('{"learning_rate": NaN}'), "NaN", Breach.ANSWER),
        (writing('{"learning_rate": 1e400}'), "no float", Breach.ANSWER),
        (writing('{"entropy": 0.1, "entropy": 0.2}'), "twice", Breach.ANSWER),
        (writing('{"entropy": {"sudo": 1}}'), "a table", Breach.ANSWER),
    ],
)
def test_what_is_no_answer_is_refused_and_told(tmp_path: Path, source: str, says: str, breach: Breach) -> None:
    """Links, folders, bombs of brackets and numbers that are none."""
    asking = proposer(tmp_path, source)

    with pytest.raises(BadValue, match=says):
        asking.propose(a_search())

    assert asking.last is not None
    assert breach in {each.breach for each in asking.last.refusals}


def test_a_pipe_in_the_answers_place_makes_nobody_wait(tmp_path: Path) -> None:
    """It cannot be made by a confined agent; where one lies all the same, it is no plain file."""
    os.mkfifo(tmp_path / "proposal.json")

    assert agent_context.read_regular(tmp_path / "proposal.json", most=10) is None
    assert agent_context.foreign(tmp_path) == ["proposal.json"]


@pytest.fixture(name="deep")
def _deep(tmp_path: Path) -> Iterator[Path]:
    """Return a folder whose content is gone afterwards, since no Python clears it away once it is deep."""
    yield tmp_path / "deep"
    subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)


def test_folders_deeper_than_calls_can_be_and_shut_ones_are_looked_through_and_removed(deep: Path) -> None:
    """What an agent leaves behind stops nobody, hides nothing, and fills no disk."""
    top = place = deep / "out"
    for _ in range(1200):
        place /= "d"
    deep.mkdir()
    for each in (*reversed(place.parents[:1200]), place):
        each.mkdir()
    (place / "link").symlink_to("/etc")
    (top / "shut").mkdir()
    os.mkfifo(top / "shut" / "pipe")
    (top / "shut").chmod(0)

    found = agent_context.foreign(top)
    agent_context.remove(top)

    assert found == [str((place / "link").relative_to(top)), "shut/pipe"]
    assert not top.exists()
    assert Path("/etc").is_dir()


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ('{"learning_rate": 0.9}', OutOfRange),
        ('{"learning_rate": 0.05}', OutOfRange),
        ('{"learning_rate": true}', BadValue),
        ('{"batch": 128.0}', BadValue),
        ('{"batch": true}', BadValue),
        ('{"approver": "me"}', BadValue),
        ('{"data_seed": 3}', BadValue),
    ],
)
def test_a_well_formed_answer_meets_the_same_rules_as_everybodys(
    tmp_path: Path, overrides: str, error: type[PilothouseError]
) -> None:
    """Out of range, a boolean for a number, a knob that is not listed: the draft refuses them."""
    search = a_search()
    suggestion = proposer(tmp_path, writing(overrides)).propose(search)

    with pytest.raises(error):
        draft(Draft(parent=search.parent, overrides=suggestion.overrides, knobs=search.knobs, budget=search.budget))


def test_a_config_changed_after_approval_is_not_launched(tmp_path: Path) -> None:
    """The approval is of a digest, and what the agent would rather run has another."""
    search = a_search()
    suggestion = proposer(tmp_path, WRITES).propose(search)
    made = draft(Draft(parent=search.parent, overrides=suggestion.overrides, knobs=search.knobs, budget=search.budget))

    approved = subject(made.config)
    approval = Approval(
        product=ProductId("default"),
        campaign=CampaignName("c"),
        subject_digest=approved.digest(),
        approver="Ann",
        waiver=False,
        reason="",
        granted_at=NOW,
        expires_at=None,
    )
    proposal = ProposalId("p-1")
    admit(proposal, approved.digest(), [approval], now=NOW)

    changed = subject({**made.config, "learning_rate": 0.0021})
    with pytest.raises(NotApproved, match="what was approved is"):
        admit(proposal, changed.digest(), [approval], now=NOW)


def test_an_answer_that_comes_too_late_is_not_taken(tmp_path: Path) -> None:
    """The run is over when its time is, whatever lies in the folder by then."""
    asking = proposer(tmp_path, f"{WRITES}; import signal; signal.pause()", limits=replace(LIMITS, wall_seconds=0.5))

    with pytest.raises(OperationFailed, match="wall_time"):
        asking.propose(a_search())

    assert asking.last is not None
    assert asking.last.answer_digest is None
    assert [each.breach for each in asking.last.refusals] == [Breach.WALL_TIME]


def test_huge_output_is_told_and_not_kept(tmp_path: Path) -> None:
    """Ten megabytes of chatter end the run."""
    source = f"{WRITES}; [print('x' * 65536) for _ in range(200)]"
    asking = proposer(tmp_path, source, limits=replace(LIMITS, output_bytes=1_000_000))

    with pytest.raises(OperationFailed, match="output"):
        asking.propose(a_search())

    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 100_000


def test_a_context_that_changed_meanwhile_spoils_the_answer(tmp_path: Path) -> None:
    """Only an agent that runs unconfined can change it; the answer is then not taken, waiver or none."""
    source = f"{WRITES}; open(os.environ['PILOTHOUSE_CONTEXT'] + '/extra.json', 'w').write('{{}}')"
    asking = proposer(tmp_path, source, level=Level(rung=Rung.NONE), unconfined_allowed_by="Ann")

    with pytest.raises(Refused, match="context was changed"):
        asking.propose(a_search())

    assert asking.last is not None
    assert [each.breach for each in asking.last.refusals] == [Breach.CONTEXT]


def test_links_that_lead_out_are_told_and_harmless(tmp_path: Path) -> None:
    """A good answer is taken, and the links beside it are on record."""
    asking = proposer(tmp_path, f"{WRITES}; os.symlink('/etc/shadow', 'a'); os.symlink('proposal.json', 'b')")

    asking.propose(a_search())

    assert asking.last is not None
    assert [(each.breach, each.detail) for each in asking.last.refusals] == [(Breach.FOREIGN_FILE, "a")]
    assert list((tmp_path / "agents").glob("*/attempt-1/out")) == []
