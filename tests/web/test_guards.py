"""Whoever may not do something is told nothing of how it is done."""

from __future__ import annotations

import pytest

from pilothouse.access.roles import Role
from tests.web.world import OTHER, World, refused


@pytest.mark.parametrize("path", ["/fleet/tokens", "/fleet/enrolments"])
@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.ADMIN, Role.WORKER}])
def test_who_may_make_no_token_hears_nothing_of_its_form(world: World, path: str, role: Role) -> None:
    """A body that is wrong is refused for its sender, not for its form."""
    refused(world.ask("POST", path, token=world.token(role.value), json={"no": "such key"}), 403)


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


def test_a_key_rotates_no_other_factorys_key(world: World) -> None:
    """A worker's key is good for the factory it was made for."""
    mine = world.factory("f1")
    world.factory("f2")

    refused(world.ask("POST", "/fleet/factories/f2/token/rotate", token=mine, json={}), 403)
