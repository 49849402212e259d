"""The gate over HTTP: who may say yes, to exactly what, and what the page is allowed to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pilothouse.ids import ProductId
from pilothouse.proposals.proposal import State
from pilothouse.web.gate_page import KINDS, PAGE
from tests.campaigns.ferry_world import TEXT
from tests.web.proposing import decide, propose
from tests.web.world import OTHER, PRODUCT, World, refused

Ask = Callable[..., Any]
MARKUP = ("innerHTML", "outerHTML", "insertAdjacentHTML", "setHTML", "document.write", "eval(", "onclick", "style=")
"""By what text becomes markup, a script or a style; the page's policy forbids the last two."""


def test_a_yes_is_the_token_holder_s_and_is_bound_to_what_was_read(world: World) -> None:
    """It is the same record as one of the command line; the audit log has the token."""
    proposal = propose(world)
    (row,) = world.do("GET", "/proposals?state=open")["proposals"]
    answer = world.ask("GET", f"/proposals/{proposal.id}", token=world.owner)
    ada = world.token("approver")
    given = decide(world, proposal, "approve", token=ada, reason="small", expires_in="2h").json()
    (line,) = world.do("GET", "/fleet/audit?limit=1")["lines"]
    with world.engine.read() as tx:
        (approval,) = tx.proposals.approvals(PRODUCT, proposal.campaign)

    assert row["subject_digest"] == given["subject_digest"] == approval.subject_digest == proposal.subject.digest()
    assert answer.headers["etag"] == f'"{row["subject_digest"]}"'
    assert (approval.approver, approval.reason, approval.waiver) == ("ada", "small", False)
    assert approval.expires_at == world.clock.now() + timedelta(hours=2)
    assert (line["act"], line["object"], line["actor"]) == ("proposal.approve", proposal.id, "ada")
    assert line["token"] in ada
    assert world.do("GET", f"/proposals/{proposal.id}")["approvals"][0]["by"] == "ada"


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_nobody_decides_about_what_they_have_not_read(world: World, verb: str) -> None:
    proposal, ada = propose(world), world.token("approver")
    path = f"/proposals/{proposal.id}/{verb}"

    refused(world.ask("POST", path, token=ada, json={"reason": "r"}), 428, "PreconditionMissing")
    refused(decide(world, proposal, verb, token=ada, digest="0" * 64, reason="r"), 412, "PreconditionFailed")
    assert world.do("GET", "/proposals?state=open")["proposals"][0]["id"] == proposal.id
    assert world.do("GET", f"/proposals/{proposal.id}")["approvals"] == []


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_an_open_server_s_gate_asks_for_a_name_all_the_same(open_world: World, verb: str) -> None:
    """Whatever runs on this machine reaches the loopback: a job and an agent do, and may look, and open no gate."""
    proposal = propose(open_world)

    assert open_world.ask("GET", f"/proposals/{proposal.id}").is_success
    problem = refused(decide(open_world, proposal, verb, token=None, reason="r"), 401, "NotAuthenticated")
    assert "--role approver" in problem["fix"]
    assert decide(open_world, proposal, verb, token=open_world.token("approver"), reason="r").is_success


@pytest.mark.parametrize("role", ["viewer", "proposer", "operator"])
def test_who_proposes_or_operates_opens_no_gate(world: World, role: str) -> None:
    proposal = propose(world)

    refused(decide(world, proposal, "approve", token=world.token(role)), 403, "Refused")
    refused(decide(world, proposal, "reject", token=world.token(role), reason="r"), 403, "Refused")


def test_only_those_whom_the_file_names_say_yes(world: World) -> None:
    """A token of the role is not enough; the no of anybody who may decide counts."""
    proposal = propose(world, text=TEXT.replace('size = "125m"', 'size = "125m"\napprovers = ["@grace"]'))

    assert "none of those" in refused(decide(world, proposal, "approve", token=world.token("approver")), 403)["detail"]
    assert decide(world, proposal, "approve", token=world.token("approver", name="grace")).status_code == 201
    assert decide(world, proposal, "reject", token=world.token("approver"), reason="r").json()["state"] == "rejected"


def test_another_product_s_proposals_are_not_there(world: World) -> None:
    proposal = propose(world)
    stranger = world.token("approver", product=OTHER)

    assert world.do("GET", "/proposals", token=stranger)["proposals"] == []
    for path in ("", "/diff"):
        refused(world.ask("GET", f"/proposals/{proposal.id}{path}", token=stranger), 404)
    refused(decide(world, proposal, "approve", token=stranger), 404)
    refused(world.ask("GET", f"/proposals?product={PRODUCT}", token=stranger), 403)


def test_a_no_ends_it_and_keeps_its_reason(world: World) -> None:
    proposal, ada = propose(world), world.token("approver")

    refused(decide(world, proposal, "reject", token=ada, reason="  "), 422)
    told = decide(world, proposal, "reject", token=ada, reason="too hot").json()
    refused(decide(world, proposal, "approve", token=ada), 409, "Conflict")

    assert (told["state"], told["refusal"]) == (State.REJECTED.value, "rejected by ada: too hot")
    assert world.do("GET", "/proposals?state=open")["proposals"] == []


@pytest.mark.parametrize("text", ["1y", "0h", "-1d", "forever", "99999d", "1d\n"])
def test_a_yes_ends(world: World, text: str) -> None:
    refused(decide(world, propose(world), "approve", token=world.token("approver"), expires_in=text), 422)


def test_a_list_is_newest_first_and_bounded(world: World) -> None:
    propose(world)
    world.wait(1)
    second = propose(world, "proposal-2", commit="c1")

    assert [each["id"] for each in world.do("GET", "/proposals?limit=1")["proposals"]] == [second.id]
    assert world.do("GET", "/proposals?campaign=another")["proposals"] == []
    refused(world.ask("GET", "/proposals?limit=1000", token=world.owner), 422)
    refused(world.ask("GET", "/proposals/none", token=world.owner), 404)


def test_the_page_runs_only_its_own_files(world: World) -> None:
    """It is the same for everybody and holds no proposal; no text that it shows can become a script."""
    for name, kind in KINDS.items():
        answer = world.ask("GET", PAGE if name == "gate.html" else f"{PAGE}/{name}")
        policy = answer.headers["content-security-policy"]

        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy
        assert not [each for each in MARKUP if each in answer.text]
    for name in ("gate.html", "..%2fapp.py", "other.js"):
        assert world.ask("GET", f"{PAGE}/{name}").status_code in {404, 422}


def test_only_a_button_decides(world: World) -> None:
    """The Enter key in the field of the reason would press the first button that submits, and that one says yes."""
    page = world.ask("GET", PAGE).text
    _, _, card = page.partition('<template id="proposal">')
    buttons = re.findall(r"<button\b[^>]*>", card)

    assert [re.findall(r'value="(\w+)"', each) for each in buttons] == [["approve"], ["reject"]]
    assert all('type="button"' in each for each in buttons)


def test_a_product_is_named_by_its_token(world: World) -> None:
    assert world.do("GET", "/proposals", token=world.token("viewer", product=ProductId("empty")))["proposals"] == []
