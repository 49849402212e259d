"""A patch of a small bug on the forge: one commit on the one that failed, and a pull request that says what it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.campaigns.ferry_world import definition_of
from tests.publish.conftest import Desk

from pilothouse.campaigns.ferry_letters import Sender, patch_letters
from pilothouse.proposals.patch import Patch
from pilothouse.proposals.proposal import Risk
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.testing.forge.faults import Fault
from pilothouse.testing.forge.github import FakeGithub, breaches
from pilothouse.testing.values import PRODUCT

Connect = Callable[..., GithubChannel]
RUN = "daily-125m-2026-11-22"
SENDER = Sender(product=PRODUCT, definition=definition_of(), run=RUN)
HOSTILE = "NameError: closes #1 @ada <!-- x --> `[a](b)`"


@pytest.mark.parametrize("fault", [Fault.NONE, *(each for each in Fault if each is not Fault.NONE)])
def test_a_patch_stands_on_the_forge_once(forge: FakeGithub, desk: Desk, connect: Connect, fault: Fault) -> None:
    """Whatever goes wrong with a write; what an agent has written closes nothing and calls nobody."""
    struck: set[tuple[str, str]] = set()

    def once(method: str, path: str) -> Fault:
        if method == "GET" or (method, path) in struck:
            return Fault.NONE
        struck.add((method, path))
        return fault

    forge.plan = once
    base = forge.state.refs["heads/main"]
    patch = Patch(base=base, files={"README.md": "# mended\n"}, lines=2, rationale=HOSTILE, risk=Risk.LOW)
    desk.post(*patch_letters(SENDER, patch, job=RUN, signature=HOSTILE))

    desk.deliver(connect())

    (pull,) = forge.state.issues.values()
    head = forge.state.refs[f"heads/pilothouse/patch/{RUN}"]
    assert (pull.head, pull.base) == (f"pilothouse/patch/{RUN}", "main")
    assert pull.labels == ["ferry", "ferry-daily", "ferry-patch"]
    assert forge.state.files(head) == {"README.md": "# mended\n"}
    assert len(forge.state.history(head)) == 2
    assert forge.state.refs["heads/main"] == base
    assert "closes #1" not in pull.body
    assert "@ada" not in pull.body
    assert not breaches(forge.writes())
