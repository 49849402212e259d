"""Whoever may not do something is told nothing of how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from pilothouse.access.roles import Permission, Role
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.ids import FactoryName
from pilothouse.web.app import Face, build_app
from tests.web.world import OTHER, PRODUCT, World, refused


@pytest.mark.parametrize("path", ["/fleet/tokens", "/fleet/enrolments"])
@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.ADMIN, Role.WORKER}])
def test_who_may_make_no_token_hears_nothing_of_its_form(world: World, path: str, role: Role) -> None:
    """A body that is wrong is refused for its sender, not for its form."""
    refused(world.ask("POST", path, token=world.token(role.value), json={"no": "such key"}), 403)


def test_a_factory_hears_nothing_of_how_a_job_is_changed(world: World) -> None:
    """It may fetch what it runs, and is refused for what it is before its body is read."""
    path = f"/fleet/jobs/{world.submit()['id']}"
    answer = world.ask("PATCH", path, token=world.factory(), json={"no": "such key"}, headers={"If-Match": '"0"'})

    refused(answer, 403)


def test_a_job_is_explained_by_the_factories_of_its_product_only(world: World) -> None:
    """Those of another product are not even named, and what they have run makes nobody familiar with it."""
    world.claim(world.factory("f1"))
    world.claim(world.factory("theirs", product=OTHER), "theirs")
    told = world.do("GET", f"/fleet/jobs/{world.submit()['id']}/explain")

    assert [each["factory"] for each in told["candidates"]] == ["f1"]
    assert told["candidates"][0]["score"]["terms"]["affinity"] == 0.0
    assert "theirs" not in str(told)


def test_an_id_without_its_secret_is_no_token(world: World) -> None:
    """Ids are no secrets: they stand in lists and logs."""
    good = world.token("admin")
    forged = good[:-6] + ("aaaaaa" if good[-6:] != "aaaaaa" else "bbbbbb")

    refused(world.ask("GET", "/fleet/tokens", token=forged), 401)
    assert world.ask("GET", "/fleet/tokens", token=good).is_success


@pytest.mark.parametrize("shown", ["Basic YWRhOmFkYQ==", "Bearer", "Bearer somebody", "pht_demo"])
def test_what_is_no_token_of_ours_is_told_so(world: World, shown: str) -> None:
    """It is not looked up: whoever sent another service's token by mistake reads that."""
    answer = world.ask("GET", "/fleet/tokens", headers={"Authorization": shown})

    refused(answer, 401)
    assert "is no token of ours" in answer.text


def test_a_key_rotates_no_other_factorys_key(world: World) -> None:
    """A worker's key is good for the factory it was made for."""
    mine = world.factory("f1")
    world.factory("f2")

    refused(world.ask("POST", "/fleet/factories/f2/token/rotate", token=mine, json={}), 403)


class Told(dict[FactoryName, Factory]):
    """Factories as the engine knows them, and every state that one was ever put into."""

    def __init__(self, known: Mapping[FactoryName, Factory]) -> None:
        super().__init__(known)
        self.states: list[FactoryState] = []

    def __setitem__(self, name: FactoryName, factory: Factory) -> None:
        self.states.append(factory.state)
        super().__setitem__(name, factory)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/fleet/factories/theirs/token/revoke"), ("DELETE", "/fleet/factories/theirs")]
)
def test_a_factory_is_not_silenced_even_for_a_moment_by_whoever_may_not_take_it_away(
    world: World, method: str, path: str
) -> None:
    """A claim of that moment would be told that the factory was revoked, and its process would end."""
    world.factory("theirs", product=OTHER)
    world.do("POST", "/fleet/factories/theirs/drain", json={})
    known = Told(world.engine.look(lambda scheduler: scheduler.roster.factories))
    world.engine.look(lambda scheduler: setattr(scheduler.roster, "factories", known))
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}

    refused(world.ask(method, path, token=world.token("admin"), **body), 404)
    assert known.states == []

    world.do(method, path, **body)
    assert FactoryState.REVOKED in known.states


def test_an_admin_of_one_product_lists_its_tokens_only(world: World) -> None:
    """Names and roles of another product's people are theirs alone."""
    world.token("viewer", product=OTHER, name="theirs")
    world.token("viewer", product=None, name="everybodys")
    mine = world.token("admin", name="mine")

    assert [each["name"] for each in world.do("GET", "/fleet/tokens", token=mine)["tokens"]] == ["mine"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "budgets/other", None),
        ("PUT", "budgets/other", {"usd": 1.0}),
        ("POST", "budgets/other/pause", {"reason": "enough"}),
        ("POST", "budgets/other/resume", {}),
        ("GET", "settings/other", None),
        ("PUT", "settings/other", {"preemption": True}),
        ("GET", "audit?product=other", None),
    ],
)
def test_an_admin_of_one_product_has_no_say_in_what_is_anothers(
    world: World, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """The request names the product, whatever the token is for."""
    world.do("PUT", "/fleet/budgets/other", json={"usd": 9.0})

    refused(world.ask(method, f"/fleet/{path}", token=world.token("admin"), json=body), 403)
    assert world.ask(method, f"/fleet/{path}", token=world.token("admin", product=OTHER), json=body).is_success


@pytest.mark.parametrize("path", ["/fleet/audit", "/fleet/audit?product=demo"])
def test_only_an_admin_reads_who_has_used_a_privilege(world: World, path: str) -> None:
    """Whether the product is named or not."""
    refused(world.ask("GET", path, token=world.token("operator")), 403)
    assert world.ask("GET", path, token=world.token("admin")).is_success


def test_a_factory_that_was_never_heard_is_told_apart_from_its_neighbour(world: World) -> None:
    """What is told of a factory is its own, and not what another one's session says."""
    world.claim(world.factory("f1"))
    world.factory("f2")
    told = world.do("GET", f"/fleet/jobs/{world.submit()['id']}/explain")

    assert {each["factory"]: "stale" in str(each) for each in told["candidates"]} == {"f1": False, "f2": True}


def test_an_alert_names_no_factory_of_another_product(world: World) -> None:
    """That one's machines are not heard is for its own people, and for whoever is served by all of them."""
    world.factory("theirs", product=OTHER)

    assert alerts(world, OTHER) == ["all_factories_down"]
    assert alerts(world, PRODUCT) == []


def test_an_alert_tells_of_a_factory_that_serves_every_product(world: World) -> None:
    """Nobody else would be told that it is gone."""
    world.factory("everybodys", product=None)

    assert alerts(world, PRODUCT) == ["all_factories_down"]
    assert alerts(world, OTHER) == ["all_factories_down"]


def test_only_who_operates_makes_room_where_the_product_allows_it(world: World) -> None:
    """A viewer may ask who would make room, and no more, also where preemption is switched on."""
    world.do("PUT", f"/fleet/settings/{PRODUCT}", json={"preemption": True})
    order = {"job": world.submit(priority="critical")["id"], "dry_run": False}

    refused(world.ask("POST", "/fleet/preemptions", token=world.token("viewer"), json=order), 403)
    assert world.ask("POST", "/fleet/preemptions", token=world.token("operator"), json=order).is_success


def test_prometheus_is_told_of_no_other_product(world: World) -> None:
    """By whoever may see one of them only."""
    world.submit()
    world.claim(world.factory("theirs", product=OTHER), "theirs")
    everything = world.ask("GET", "/metrics", token=world.token("viewer", product=None)).text
    mine = world.ask("GET", "/metrics", token=world.token("viewer")).text

    assert f'product="{OTHER}"' in everything
    assert f'product="{OTHER}"' not in mine
    assert f'pilothouse_jobs{{product="{PRODUCT}",stage="queued"}} 1.0' in mine


def alerts(world: World, product: str) -> list[str]:
    """Return the kinds of alerts that a viewer of the product is told."""
    found = world.do("GET", "/fleet/metrics", token=world.token("viewer", product=product))["alerts"]
    return [alert["kind"] for alert in found]


def test_what_a_server_does_for_nobody_it_does_for_no_good_token_either(world: World) -> None:
    """Beside a campaign's loop no work is given away, whoever asks; everything else goes on."""
    gate = replace(world.parts.gate, closed=frozenset({Permission.WORK}))
    app = build_app(replace(world.parts, gate=gate), Face())
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    shown = {"Authorization": f"Bearer {world.factory()}"}

    answer = client.post("/fleet/claim", headers=shown, json={"factory": "f1", "boot": "b1"})

    refused(answer, 403)
    assert "gives no work" in answer.text
    assert client.get("/fleet/tokens", headers={"Authorization": f"Bearer {world.token('admin')}"}).is_success
