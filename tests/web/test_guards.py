"""Whoever may not do something is told nothing of how it is done."""

from __future__ import annotations

import pytest

from pilothouse.access.roles import Role
from tests.web.world import World, refused


@pytest.mark.parametrize("path", ["/fleet/tokens", "/fleet/enrolments"])
@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.ADMIN, Role.WORKER}])
def test_who_may_make_no_token_hears_nothing_of_its_form(world: World, path: str, role: Role) -> None:
    """A body that is wrong is refused for its sender, not for its form."""
    refused(world.ask("POST", path, token=world.token(role.value), json={"no": "such key"}), 403)
