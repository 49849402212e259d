"""Who is let in: every route against every role, and what bad tokens get."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pilothouse.access.roles import Role
from pilothouse.web.app import HEALTH, OPENAPI
from tests.web.world import OTHER, PRODUCT, REPORT, WORK, World, refused

JOB = "/fleet/jobs/job-none"
SAID = {"factory": "f1", "boot": "b1"}
LEASE = {"job": "job-none", "epoch": 1}
EVERYBODY = "viewer proposer approver operator admin"
BUDGET = "/fleet/budgets/demo"

ROUTES: list[tuple[str, str, Any, str]] = [
    ("POST", "/fleet/jobs", WORK, "proposer operator admin"),
    ("GET", "/fleet/jobs", None, EVERYBODY),
    ("GET", JOB, None, EVERYBODY),
    ("PATCH", JOB, {"action": "cancel"}, "operator admin"),
    ("PATCH", JOB, {"action": "approve"}, "approver admin"),
    ("PATCH", JOB, {"action": "decline"}, "approver admin"),
    ("POST", f"{JOB}/children", {"children": [{"name": "a", **WORK}]}, "proposer operator admin"),
    ("GET", f"{JOB}/details", None, EVERYBODY),
    ("GET", f"{JOB}/log", None, EVERYBODY),
    ("GET", f"{JOB}/dag", None, EVERYBODY),
    ("GET", f"{JOB}/runs", None, EVERYBODY),
    ("GET", f"{JOB}/events", None, EVERYBODY),
    ("GET", f"{JOB}/explain", None, EVERYBODY),
    ("GET", f"{JOB}/artifacts", None, EVERYBODY),
    ("GET", f"{JOB}/artifacts/model", None, f"{EVERYBODY} worker"),
    ("POST", f"{JOB}/artifacts/model?epoch=1&digest={'0' * 64}", None, "worker"),
    ("DELETE", f"{JOB}/artifacts/model", None, "operator admin"),
    ("GET", f"/fleet/artifacts/{'0' * 64}", None, f"{EVERYBODY} worker"),
    ("POST", "/fleet/claim", SAID, "worker"),
    ("POST", "/fleet/complete", SAID | {"reports": [LEASE | {"report": REPORT}]}, "worker"),
    ("POST", "/fleet/leases/start", SAID | LEASE | {"pid": 1, "pid_started": 1.0}, "worker"),
    ("POST", "/fleet/leases/renew", SAID, "worker"),
    ("POST", "/fleet/leases/release", SAID | {"leases": [LEASE]}, "worker"),
    ("POST", "/fleet/factories/heartbeat", SAID, "worker"),
    ("POST", "/fleet/factories/enroll", {"name": "f2"}, ""),
    ("GET", "/fleet/factories", None, EVERYBODY),
    ("GET", "/fleet/factories/f1", None, EVERYBODY),
    ("POST", "/fleet/factories/f1/drain", {}, "operator admin"),
    ("POST", "/fleet/factories/f1/resume", {}, "operator admin"),
    ("POST", "/fleet/factories/f1/token/rotate", {}, "worker admin"),
    ("POST", "/fleet/factories/f1/token/revoke", {}, "admin"),
    ("DELETE", "/fleet/factories/f1", None, "admin"),
    ("GET", "/fleet/audit", None, "admin"),
    ("POST", "/fleet/enrolments", {"product": PRODUCT}, "admin"),
    ("GET", "/fleet/tokens", None, "admin"),
    ("POST", "/fleet/tokens", {"name": "bob", "role": "viewer", "product": PRODUCT}, "admin"),
    ("DELETE", f"/fleet/tokens/{'a' * 16}", None, "admin"),
    ("GET", "/fleet/budgets", None, EVERYBODY),
    ("GET", BUDGET, None, EVERYBODY),
    ("PUT", BUDGET, {"usd": 5}, "admin"),
    ("POST", f"{BUDGET}/pause", {}, "operator admin"),
    ("POST", f"{BUDGET}/resume", {}, "operator admin"),
    ("GET", "/fleet/settings/demo", None, EVERYBODY),
    ("PUT", "/fleet/settings/demo", {}, "operator admin"),
    ("POST", "/fleet/preemptions", {"job": "job-none"}, EVERYBODY),
    ("GET", "/proposals", None, EVERYBODY),
    ("GET", "/proposals/p-none", None, EVERYBODY),
    ("GET", "/proposals/p-none/diff", None, EVERYBODY),
    ("POST", "/proposals/p-none/approve", {}, "approver admin"),
    ("POST", "/proposals/p-none/reject", {"reason": "r"}, "approver admin"),
    ("GET", "/fleet/metrics", None, EVERYBODY),
    ("GET", "/fleet/queue-state", None, f"{EVERYBODY} worker"),
    ("GET", "/metrics", None, EVERYBODY),
]
"""Each route with a body that it takes and the roles that it is for: a second time, so that a change is meant."""


def asked(world: World, method: str, path: str, body: Any, *, token: str | None) -> int:
    """Return the status of an answer; whatever is refused must be a problem."""
    headers = {"If-Match": '"1"'} if method == "PATCH" else {}
    answer = world.ask(method, path, token=token, headers=headers, **({} if body is None else {"json": body}))
    if not answer.is_success:
        refused(answer, answer.status_code)
    return answer.status_code


def test_the_table_has_every_route(world: World) -> None:
    """A new route has to say who may use it; the two that anybody may use are told here."""
    documented = world.do("GET", OPENAPI)["paths"]
    there = {(method.upper(), path) for path, methods in documented.items() for method in methods}
    told = {(method, _template(path, documented)) for method, path, _, _ in ROUTES}

    assert there - {("GET", HEALTH)} == told


def _template(path: str, documented: dict[str, Any]) -> str:
    """Return the route that a path is one of; a name that stands as it is comes before a parameter."""
    words = path.partition("?")[0].split("/")
    fitting = [
        template
        for template in documented
        if len(template.split("/")) == len(words)
        and all(part == word or part.startswith("{") for part, word in zip(template.split("/"), words, strict=True))
    ]
    return min(fitting, key=lambda template: template.count("{"))


@pytest.mark.parametrize("role", Role)
def test_a_role_may_use_its_routes_and_no_other(world: World, role: Role) -> None:
    """What a role may do is answered somehow, and what it may not do is answered with 403."""
    world.do("PUT", BUDGET, json={})
    token = world.factory() if role is Role.WORKER else world.token(role.value)
    for method, path, body, roles in sorted(ROUTES, key=lambda route: "revoke" in route[1]):
        allowed = role.value in roles.split()
        status = asked(world, method, path, body, token=token)
        assert (status not in {401, 403}) == allowed, f"{role} {method} {path}: {status}"


@pytest.mark.parametrize("shown", [None, "ph_user_aaaaaaaaaaaaaaaa_" + "a" * 52, "something", "", "Bearer"])
def test_nobody_is_let_in_without_a_good_token(world: World, shown: str | None) -> None:
    for method, path, body, _ in ROUTES:
        world.wait(1)  # so often may a wrong token be shown
        assert asked(world, method, path, body, token=shown) == 401, f"{method} {path}"


def test_what_is_for_anybody_needs_no_token(world: World) -> None:
    assert world.ask("GET", HEALTH).json() == {"status": "ok"}
    assert world.ask("GET", OPENAPI).status_code == 200


def test_a_path_that_only_ends_like_an_open_one_is_not_open(world: World) -> None:
    world.factory("health")
    refused(world.ask("GET", "/fleet/factories/health"), 401)
    refused(world.ask("GET", "/fleet/jobs/health"), 401)
    refused(world.ask("GET", "//health"), 404)
    refused(world.ask("GET", "/health/"), 404)


def test_a_wrong_token_is_told_how_to_be_shown(world: World) -> None:
    answer = world.ask("GET", "/fleet/jobs")

    assert "token" in refused(answer, 401, "NotAuthenticated")["fix"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_another_scheme_than_bearer_is_no_token(world: World) -> None:
    answer = world.client.get("/fleet/jobs", headers={"Authorization": f"Basic {world.owner}"})

    refused(answer, 401, "NotAuthenticated")


def test_an_expired_token_is_refused(world: World) -> None:
    token = world.token("viewer", seconds=60)
    assert world.ask("GET", "/fleet/jobs", token=token).status_code == 200
    world.wait(60)

    assert "expired" in refused(world.ask("GET", "/fleet/jobs", token=token), 401)["detail"]


def test_a_revoked_token_is_refused_at_the_very_next_request(world: World) -> None:
    token = world.token("viewer")
    assert world.ask("GET", "/fleet/jobs", token=token).status_code == 200
    revoked = world.do("DELETE", f"/fleet/tokens/{token.split('_')[2]}")

    assert revoked["revoked_at"] is not None
    assert "revoked" in refused(world.ask("GET", "/fleet/jobs", token=token), 401)["detail"]


def test_a_token_that_another_server_revoked_is_refused_soon(world: World) -> None:
    token = world.token("viewer")
    assert world.ask("GET", "/fleet/jobs", token=token).status_code == 200
    world.engine.apply(lambda tx: tx.access.revoke(token.split("_")[2], now=world.clock.now()))
    world.wait(2.0)

    refused(world.ask("GET", "/fleet/jobs", token=token), 401)


def test_a_secret_is_told_once_and_kept_nowhere(world: World) -> None:
    token = world.token("viewer")
    secret = token.rsplit("_", 1)[1]
    world.store.close()

    assert secret not in world.ask("GET", "/fleet/tokens", token=world.owner).text
    assert all(secret.encode() not in path.read_bytes() for path in world.home.glob("pilothouse.db*"))


def test_a_token_of_one_product_sees_nothing_of_another(world: World) -> None:
    mine, other = world.submit(), world.submit(product=OTHER)
    viewer = world.token("viewer")
    world.do("PUT", "/fleet/budgets/other", json={"usd": 1})

    listed = world.do("GET", "/fleet/jobs", token=viewer)["jobs"]
    assert [job["id"] for job in listed] == [mine["id"]]
    for path in ("", "/dag", "/runs", "/events", "/explain", "/artifacts", "/artifacts/model"):
        refused(world.ask("GET", f"/fleet/jobs/{other['id']}{path}", token=viewer), 404, "NotFound")
    refused(world.ask("GET", "/fleet/jobs?product=other", token=viewer), 403, "Refused")
    refused(world.ask("GET", "/fleet/budgets/other", token=viewer), 403, "Refused")
    assert world.do("GET", "/fleet/budgets", token=viewer)["budgets"] == []
    assert "other" not in world.ask("GET", "/metrics", token=viewer).text
    assert "other" not in world.ask("GET", "/fleet/metrics", token=viewer).text


def test_a_token_of_one_product_changes_nothing_of_another(world: World) -> None:
    other = world.submit(product=OTHER)
    operator, proposer, admin = world.token("operator"), world.token("proposer"), world.token("admin")
    world.factory("f9", product=OTHER)

    refused(world.change(other["id"], "cancel", token=operator, epoch=0), 404)
    refused(world.ask("POST", "/fleet/preemptions", token=operator, json={"job": other["id"]}), 404)
    children = {"children": [{"name": "a", **WORK}]}
    refused(world.ask("POST", f"/fleet/jobs/{other['id']}/children", token=proposer, json=children), 404)
    refused(world.ask("POST", "/fleet/jobs?product=other", token=proposer, json=WORK), 403)
    refused(world.ask("POST", "/fleet/factories/f9/drain", token=operator, json={}), 404)
    refused(world.ask("POST", "/fleet/factories/f9/token/revoke", token=admin, json={}), 404)
    refused(world.ask("PUT", "/fleet/settings/other", token=operator, json={}), 403)
    refused(world.ask("PUT", "/fleet/budgets/other", token=admin, json={}), 403)
    assert world.stage(other["id"]) == "queued"


def test_a_job_waits_for_no_job_of_another_product(world: World) -> None:
    other = world.submit(product=OTHER)
    answer = world.ask("POST", "/fleet/jobs", token=world.token("proposer"), json={**WORK, "deps": [other["id"]]})

    refused(answer, 404, "NotFound")


@pytest.mark.parametrize("product", [OTHER, None])
def test_an_admin_of_one_product_makes_tokens_for_no_other(world: World, product: str | None) -> None:
    admin = world.token("admin")
    body = {"name": "eve", "role": "admin", "product": product}

    refused(world.ask("POST", "/fleet/tokens", token=admin, json=body), 403)
    refused(world.ask("POST", "/fleet/enrolments", token=admin, json={"product": product}), 403)
    assert {token["product"] for token in world.do("GET", "/fleet/tokens", token=admin)["tokens"]} == {PRODUCT}


def test_a_viewer_sees_the_factories_that_serve_its_product_and_there_its_own_jobs(world: World) -> None:
    world.factory("mine")
    world.factory("theirs", product=OTHER)
    shared = world.factory("shared", product=None)
    own, other = world.submit()["id"], world.submit(product=OTHER)["id"]
    assert len(world.claim(shared, "shared")) == 2
    viewer = world.token("viewer")
    listed = world.do("GET", "/fleet/factories", token=viewer)["factories"]

    assert [each["name"] for each in listed] == ["mine", "shared"]
    assert [held["job"] for held in listed[1]["held"]] == [own]
    assert other not in world.ask("GET", "/fleet/factories/shared", token=viewer).text
    refused(world.ask("GET", "/fleet/factories/theirs", token=viewer), 404, "NotFound")
    assert len(world.do("GET", "/fleet/factories")["factories"]) == 3


def test_a_factory_that_serves_all_products_is_changed_by_none_of_them(world: World) -> None:
    world.factory("shared", product=None)

    refused(world.ask("POST", "/fleet/factories/shared/drain", token=world.token("operator"), json={}), 404)
    refused(world.ask("POST", "/fleet/factories/shared/token/revoke", token=world.token("admin"), json={}), 404)
    refused(world.ask("POST", "/fleet/factories/shared/token/rotate", token=world.token("admin"), json={}), 404)
    assert world.do("POST", "/fleet/factories/shared/drain", json={})["state"] == "draining"


def test_a_page_of_jobs_goes_on_after_no_job_of_another_product(world: World) -> None:
    other = world.submit(product=OTHER)

    refused(world.ask("GET", f"/fleet/jobs?after={other['id']}", token=world.token("viewer")), 404)


def test_an_admin_of_one_product_revokes_no_token_of_another(world: World) -> None:
    theirs = world.token("viewer", product=OTHER).split("_")[2]

    refused(world.ask("DELETE", f"/fleet/tokens/{theirs}", token=world.token("admin")), 404)


def test_a_workers_key_is_made_by_enrolling_only(world: World) -> None:
    body = {"name": "eve", "role": "worker", "product": PRODUCT}

    refused(world.ask("POST", "/fleet/tokens", token=world.owner, json=body), 422)


def test_who_proposes_does_not_approve(world: World) -> None:
    job = world.submit(review={"approvals": 1})
    key = world.factory()
    world.complete(key, world.claim(key)[0])
    assert world.stage(job["id"]) == "review"

    refused(world.change(job["id"], "approve", token=world.token("proposer")), 403)
    refused(world.change(job["id"], "approve", token=world.token("approver"), reviewer="somebody-else"), 403)
    assert world.stage(job["id"]) == "review"
    assert world.change(job["id"], "approve", token=world.token("approver")).json()["stage"] == "shipped"


# --- enrolment


def test_a_factory_enrols_once_with_one_token(world: World) -> None:
    token = world.enrolment()
    first = world.ask(
        "POST", "/fleet/factories/enroll", token=token, json={"name": "f1", "capabilities": ["cuda==12.4"]}
    )
    again = world.ask("POST", "/fleet/factories/enroll", token=token, json={"name": "f2"})

    assert first.status_code == 201
    assert first.json()["product"] == PRODUCT
    assert "used" in refused(again, 401, "NotAuthenticated")["detail"]
    assert [each["name"] for each in world.do("GET", "/fleet/factories")["factories"]] == ["f1"]
    assert world.do("GET", "/fleet/factories/f1")["capabilities"] == ["cuda:12.4"]


def test_of_many_who_enrol_with_one_token_one_has_it(world: World) -> None:
    token = world.enrolment()

    def enrol(number: int) -> int:
        body = {"name": f"f{number}"}
        return world.ask("POST", "/fleet/factories/enroll", token=token, json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(enrol, range(8)))

    assert statuses == [201, *[401] * 7]
    assert len(world.do("GET", "/fleet/factories")["factories"]) == 1


def test_an_enrolment_that_fails_uses_no_token_up(world: World) -> None:
    world.factory("f1", product=OTHER)
    token = world.enrolment()

    refused(world.ask("POST", "/fleet/factories/enroll", token=token, json={"name": "f1"}), 409, "Conflict")
    refused(world.ask("POST", "/fleet/factories/enroll", token=token, json={"name": "no name"}), 422)
    refused(
        world.ask("POST", "/fleet/factories/enroll", token=token, json={"name": "f2", "capabilities": ["a b"]}), 422
    )
    assert world.ask("POST", "/fleet/factories/enroll", token=token, json={"name": "f2"}).status_code == 201


def test_an_expired_or_revoked_enrolment_token_is_refused(world: World) -> None:
    late, gone = world.enrolment(seconds=60), world.enrolment()
    world.do("DELETE", f"/fleet/tokens/{gone.split('_')[2]}")
    world.wait(61)

    refused(world.ask("POST", "/fleet/factories/enroll", token=late, json={"name": "f1"}), 401)
    refused(world.ask("POST", "/fleet/factories/enroll", token=gone, json={"name": "f1"}), 401)


def test_a_key_speaks_for_its_own_factory(world: World) -> None:
    key = world.factory("f1")
    world.factory("f2")

    for path in ("claim", "factories/heartbeat", "leases/renew"):
        answer = world.ask("POST", f"/fleet/{path}", token=key, json={"factory": "f2", "boot": "b1"})
        refused(answer, 403, "Refused")
    refused(world.ask("POST", "/fleet/factories/f2/token/rotate", token=key, json={}), 403)


def test_a_rotated_key_works_and_the_old_one_soon_ends(world: World) -> None:
    old = world.factory()
    new = str(world.do("POST", "/fleet/factories/f1/token/rotate", token=old, json={})["token"])

    assert world.claim(old) == []
    assert world.claim(new) == []
    world.wait(301)
    refused(world.ask("POST", "/fleet/claim", token=old, json=SAID), 401)
    assert world.claim(new) == []


def test_a_revocation_ends_every_key_and_every_lease_at_once(world: World) -> None:
    job = world.submit()
    old = world.factory()
    new = str(world.do("POST", "/fleet/factories/f1/token/rotate", token=old, json={})["token"])
    offer = world.claim(new)[0]
    revoked = world.do("POST", "/fleet/factories/f1/token/revoke", json={})

    assert (revoked["state"], revoked["alive"], revoked["held"]) == ("revoked", False, [])
    assert world.stage(job["id"]) == "queued"
    for key in (old, new):
        refused(world.ask("POST", "/fleet/claim", token=key, json=SAID), 401)
        refused(world.complete(key, offer), 401)


def test_a_factory_that_was_revoked_begins_anew_by_enrolling(world: World) -> None:
    world.submit()
    world.factory()
    world.do("POST", "/fleet/factories/f1/token/revoke", json={})
    refused(world.ask("POST", "/fleet/factories/f1/resume", token=world.owner, json={}), 409)
    key = world.factory()

    assert len(world.claim(key, boot="b2")) == 1


def test_enrolling_again_takes_back_what_the_factory_held(world: World) -> None:
    world.submit()
    old = world.factory()
    offer = world.claim(old)[0]
    new = world.factory()

    refused(world.complete(old, offer), 401)
    refused(world.complete(new, offer), 409, "LeaseLost")
    assert world.claim(new, boot="b2")[0]["epoch"] > offer["epoch"]
