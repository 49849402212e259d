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
