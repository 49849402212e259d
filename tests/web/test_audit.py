"""Who has used a privilege: every act leaves its line in the same transaction, and only admins read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pilothouse.ids import FactoryName
from tests.web.proposing import decide, propose
from tests.web.test_access import ROUTES
from tests.web.world import OTHER, PRODUCT, WORK, World, refused

Do = Callable[[World], Any]
SILENT = {"POST /fleet/jobs", "POST /fleet/jobs/job-none/children"}
"""What changes something and needs no privilege beyond submitting; the job's own history has it."""


def lines(world: World, **query: Any) -> list[dict[str, Any]]:
    """Return the lines that the owner sees, newest first."""
    found: list[dict[str, Any]] = world.do("GET", "/fleet/audit", params=query)["lines"]
    return found


def running(world: World) -> str:
    """Return a job that a factory holds."""
    job: str = world.submit()["id"]
    world.claim(world.factory())
    return job


def made(world: World) -> str:
    """Return a job whose success waits for a reviewer."""
    job: str = world.submit(review={"approvals": 1}, ship="manual")["id"]
    key = world.factory()
    (offer,) = world.claim(key)
    assert world.complete(key, offer).is_success
    return job


ACTS: dict[str, tuple[str, Do]] = {
    "token.create": ("POST /fleet/tokens", lambda world: world.token("viewer")),
    "token.enrol": ("POST /fleet/enrolments", lambda world: world.enrolment()),
    "token.revoke": (
        "DELETE /fleet/tokens/" + "a" * 16,
        lambda world: world.do("DELETE", f"/fleet/tokens/{world.token('viewer').split('_')[2]}"),
    ),
    "factory.enrol": ("POST /fleet/factories/enroll", lambda world: world.factory()),
    "factory.drain": (
        "POST /fleet/factories/f1/drain",
        lambda world: (world.factory(), world.do("POST", "/fleet/factories/f1/drain", json={})),
    ),
    "factory.resume": (
        "POST /fleet/factories/f1/resume",
        lambda world: (world.factory(), world.do("POST", "/fleet/factories/f1/resume", json={})),
    ),
    "factory.rotate": (
        "POST /fleet/factories/f1/token/rotate",
        lambda world: (world.factory(), world.do("POST", "/fleet/factories/f1/token/rotate", json={})),
    ),
    "factory.revoke": (
        "POST /fleet/factories/f1/token/revoke",
        lambda world: (world.factory(), world.do("POST", "/fleet/factories/f1/token/revoke", json={})),
    ),
    "factory.deregister": (
        "DELETE /fleet/factories/f1",
        lambda world: (world.factory(), world.do("DELETE", "/fleet/factories/f1?force=true")),
    ),
    "budget.set": ("PUT /fleet/budgets/demo", lambda world: world.do("PUT", "/fleet/budgets/demo", json={"usd": 5})),
    "budget.pause": (
        "POST /fleet/budgets/demo/pause",
        lambda world: world.do("POST", "/fleet/budgets/demo/pause", json={"reason": "secret words"}),
    ),
    "budget.resume": (
        "POST /fleet/budgets/demo/resume",
        lambda world: (
            world.do("PUT", "/fleet/budgets/demo", json={}),
            world.do("POST", "/fleet/budgets/demo/resume", json={}),
        ),
    ),
    "settings.set": (
        "PUT /fleet/settings/demo",
        lambda world: world.do("PUT", "/fleet/settings/demo", json={"preemption": True}),
    ),
    "job.cancel": ("PATCH", lambda world: world.change(world.submit()["id"], "cancel", reason="secret words")),
    "job.reject": ("PATCH", lambda world: world.change(world.submit()["id"], "reject")),
    "job.requeue": ("PATCH", lambda world: world.change(running(world), "requeue")),
    "job.approve": ("PATCH", lambda world: world.change(made(world), "approve")),
    "job.decline": ("PATCH", lambda world: world.change(made(world), "decline")),
    "job.ship": (
        "PATCH",
        lambda world: (world.change(job := made(world), "approve"), world.change(job, "ship")),
    ),
    "proposal.approve": (
        "POST /proposals/p-none/approve",
        lambda world: decide(world, propose(world), "approve", token=world.owner, reason="secret words"),
    ),
    "proposal.reject": (
        "POST /proposals/p-none/reject",
        lambda world: decide(world, propose(world), "reject", token=world.owner, reason="secret words"),
    ),
    "job.preempt": (
        "POST /fleet/preemptions",
        lambda world: (
            world.do("PUT", "/fleet/settings/demo", json={"preemption": True}),
            world.do("POST", "/fleet/preemptions", json={"job": world.submit()["id"], "dry_run": False}),
        ),
    ),
}
"""How each act is done, and by which route."""


@pytest.mark.parametrize("act", ACTS)
def test_an_act_leaves_a_line(world: World, act: str) -> None:
    """It says who, when, to what, and no secret; what a person typed as a reason is in the job's own history."""
    done = ACTS[act][1](world)
    text = str(lines(world))
    (line,) = lines(world, limit=1)

    assert line["act"] == act, done
    assert line["product"] == PRODUCT
    assert line["actor"] == ("enrolment" if act == "factory.enrol" else "owner")
    assert line["at"] == world.clock.now().isoformat()
    assert line["before"] or line["after"]
    assert "ph_" not in text
    assert "secret" not in text


def test_every_route_with_a_privilege_has_its_act() -> None:
    """A new one has to say what it leaves, or that it leaves nothing."""
    privileged = {
        f"{method} {path}" if method != "PATCH" else "PATCH"
        for method, path, _, roles in ROUTES
        if method != "GET" and roles != "worker"
    }

    assert privileged - SILENT - {"DELETE /fleet/jobs/job-none/artifacts/model"} == {
        route for route, _ in ACTS.values()
    }


def test_the_states_of_two_lines_join(world: World) -> None:
    """What one act left is what the next one found, so a change that left no line would show."""
    for usd in (5, 6, 6):
        world.do("PUT", "/fleet/budgets/demo", json={"usd": usd})
    third, second, first = lines(world, object="demo")

    assert first["before"] is None
    assert (first["after"], second["after"]) == (second["before"], third["before"])
    assert first["after"] != second["after"] == third["after"]


def test_an_act_that_is_refused_leaves_nothing(world: World) -> None:
    before = lines(world)
    job = world.submit()["id"]
    refused(world.change(job, "ship"), 409)
    refused(world.change(job, "cancel", epoch=7), 412)

    assert lines(world) == before


def test_only_admins_read_of_their_own_product(world: World) -> None:
    for product in (PRODUCT, OTHER):
        world.do("PUT", f"/fleet/budgets/{product}", json={"usd": 5})
    admin, operator = world.token("admin"), world.token("operator")
    own = world.do("GET", "/fleet/audit", token=admin)["lines"]

    assert {line["product"] for line in own} == {PRODUCT}
    assert {line["product"] for line in lines(world)} == {PRODUCT, OTHER}
    assert {line["product"] for line in lines(world, product=OTHER)} == {OTHER}
    refused(world.ask("GET", f"/fleet/audit?product={OTHER}", token=admin), 403)
    refused(world.ask("GET", "/fleet/audit", token=operator), 403)


def test_pages_go_on_where_they_ended(world: World) -> None:
    for usd in range(5):
        world.do("PUT", "/fleet/budgets/demo", json={"usd": usd})
    first = world.do("GET", "/fleet/audit?limit=3")
    second = world.do("GET", f"/fleet/audit?limit=3&before={first['next']}")

    assert (len(first["lines"]), len(second["lines"]), second["next"]) == (3, 2, None)
    assert [*first["lines"], *second["lines"]] == lines(world)


# --- a factory that is deregistered


def test_a_factory_is_forgotten_once_it_is_drained(world: World) -> None:
    key = world.factory()
    world.submit()
    (offer,) = world.claim(key)
    path = "/fleet/factories/f1"
    assert "--force" in refused(world.ask("DELETE", path, token=world.owner), 409, "Conflict")["fix"]
    world.do("POST", f"{path}/drain", json={})
    refused(world.ask("DELETE", path, token=world.owner), 409, "Conflict")
    assert world.complete(key, offer).is_success
    gone = world.do("DELETE", path)

    assert (gone["state"], gone["alive"], gone["held"]) == ("revoked", False, [])
    assert world.do("GET", "/fleet/factories")["factories"] == []
    refused(world.ask("DELETE", path, token=world.owner), 404)
    refused(world.ask("POST", "/fleet/claim", token=key, json={"factory": "f1", "boot": "b1"}), 401)
    assert world.do("GET", f"/fleet/jobs/{offer['job']}/runs")["runs"][0]["factory"] == "f1"


def test_what_a_neighbour_holds_keeps_no_factory(world: World) -> None:
    """Only the jobs of the factory itself do."""
    world.factory()
    neighbour = world.factory("f2")
    world.submit()
    assert len(world.claim(neighbour, factory="f2")) == 1
    world.do("POST", "/fleet/factories/f1/drain", json={})

    world.do("DELETE", "/fleet/factories/f1")

    assert [each["name"] for each in world.do("GET", "/fleet/factories")["factories"]] == ["f2"]


def test_force_fences_what_the_factory_holds(world: World) -> None:
    """Its name is free for another product's machine; its late report is refused."""
    key = world.factory()
    job = world.submit()["id"]
    (offer,) = world.claim(key)
    world.do("DELETE", "/fleet/factories/f1?force=true")

    assert world.stage(job) == "queued"
    refused(world.complete(key, offer), 401)
    other = world.factory(product=OTHER)
    assert world.claim(other, boot="b2") == []
    refused(world.complete(other, offer), 404)
    assert world.engine.look(lambda scheduler: scheduler.roster.factories[FactoryName("f1")].product) == OTHER


def test_another_products_factory_is_not_there_to_be_forgotten(world: World) -> None:
    world.factory(product=OTHER)
    world.factory("shared", product=None)
    admin = world.token("admin")

    refused(world.ask("DELETE", "/fleet/factories/f1?force=true", token=admin), 404)
    refused(world.ask("DELETE", "/fleet/factories/shared?force=true", token=admin), 404)


def test_work_is_what_it_was(world: World) -> None:
    """A job that was submitted by nobody in particular leaves no line."""
    world.do("POST", "/fleet/jobs", json=WORK)

    assert lines(world) == []
