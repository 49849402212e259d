"""Jobs over HTTP: submit, look, change; and everything that is refused on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.world import OTHER, PRODUCT, WORK, World, refused


def child(name: str, *on: str, **more: Any) -> dict[str, Any]:
    """Return a child of a manifest."""
    return {"name": name, **WORK, "depends_on": list(on), **more}


def test_a_job_is_submitted_and_shown(world: World) -> None:
    answer = world.ask("POST", "/fleet/jobs", token=world.token("proposer"), json={**WORK, "priority": "high"})
    job = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/fleet/jobs/{job['id']}"
    shown = world.ask("GET", answer.headers["location"], token=world.token("viewer"))
    assert shown.headers["etag"] == answer.headers["etag"] == '"0"'
    assert shown.json()["spec"]["command"] == ["true"]
    assert (shown.json()["stage"], shown.json()["priority"]) == ("queued", "high")


def test_the_same_key_and_body_is_the_same_job(world: World) -> None:
    headers = {"Idempotency-Key": "nightly-1"}
    first = world.ask("POST", "/fleet/jobs", token=world.owner, json=WORK, headers=headers)
    again = world.ask("POST", "/fleet/jobs", token=world.owner, json=WORK, headers=headers)
    spelled = world.ask("POST", "/fleet/jobs", token=world.owner, json={**WORK, "idempotency-key": "nightly-1"})

    assert [first.status_code, again.status_code, spelled.status_code] == [201, 200, 200]
    assert first.json()["id"] == again.json()["id"] == spelled.json()["id"]


def test_another_body_supersedes_a_job_that_has_not_started(world: World) -> None:
    first = world.submit(idempotency_key="k")
    second = world.submit(idempotency_key="k", command=["false"])

    assert second["id"] != first["id"]
    assert (world.stage(first["id"]), world.stage(second["id"])) == ("cancelled", "queued")
    assert world.submit(idempotency_key="k", command=["false"])["id"] == second["id"]


def test_another_body_is_refused_once_the_job_has_started(world: World) -> None:
    world.submit(idempotency_key="k")
    world.claim(world.factory())
    answer = world.ask("POST", "/fleet/jobs", token=world.owner, json={"command": ["false"], "idempotency-key": "k"})

    refused(answer, 409, "KeyReused")


def test_another_priority_is_another_body(world: World) -> None:
    first = world.submit(idempotency_key="k")

    assert world.submit(idempotency_key="k", priority="critical")["id"] != first["id"]


def test_the_same_key_is_another_job_in_another_product(world: World) -> None:
    assert world.submit(idempotency_key="k")["id"] != world.submit(idempotency_key="k", product="other")["id"]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"capabilities": ["cuda >> 12"]}, "cuda"),
        ({"capabilities": ["cuda>=12", "cuda<11"]}, "cuda"),
        ({"priority": "normal"}, "priority"),
        ({"timeout": "soon"}, "timeout"),
        ({"budget": {"usd": -1}}, "usd"),
        ({"seats": 0}, "seats"),
        ({"engine": "codex"}, "engine"),
        ({"sets": 1}, "seats"),
        ({"idempotency-key": ""}, "idempotency_key"),
        ({"cwd": "../elsewhere"}, "cwd"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_path_and_mend(
    world: World, manifest: dict[str, Any], said: str
) -> None:
    problem = refused(world.ask("POST", "/fleet/jobs", token=world.owner, json={**WORK, **manifest}), 422, "BadValue")

    assert said in problem["detail"] + problem["fix"]


def test_two_keys_that_differ_are_refused(world: World) -> None:
    body = {**WORK, "idempotency_key": "a"}

    refused(world.ask("POST", "/fleet/jobs", token=world.owner, json=body, headers={"Idempotency-Key": "b"}), 422)
    refused(world.ask("POST", "/fleet/jobs", token=world.owner, json=WORK, headers={"Idempotency-Key": ""}), 422)


def test_jobs_are_listed_in_pages_newest_first(world: World) -> None:
    ids = [world.submit()["id"] for _ in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = world.do("GET", f"/fleet/jobs?limit=2{after}")
        seen += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"

    assert seen == ids[::-1]
    assert world.do("GET", "/fleet/jobs?stage=shipped")["jobs"] == []
    assert len(world.do("GET", "/fleet/jobs?stage=queued&priority=medium")["jobs"]) == 5
    refused(world.ask("GET", "/fleet/jobs?after=job-none", token=world.owner), 404)


# --- graphs


def test_a_job_with_children_waits_for_them(world: World) -> None:
    job = world.submit(children=[child("b", "a"), child("a")])
    graph = world.do("GET", f"/fleet/jobs/{job['id']}/dag")
    stages = {node["key"].rpartition("/")[2]: node["stage"] for node in graph["nodes"] if node["parent"]}

    assert job["stage"] == "blocked"
    assert len(job["children"]) == 2
    assert stages == {"a": "queued", "b": "blocked"}
    assert {(edge["kind"], edge["met"]) for edge in graph["edges"]} == {("child_shipped", False), ("hard", False)}


def test_a_tree_runs_from_its_leaves_to_its_root(world: World) -> None:
    job = world.submit(idempotency_key="tree", children=[child("a"), child("b", "a")])
    key = world.factory()
    order = []
    while offers := world.claim(key):
        order += [offer["key"] for offer in offers]
        assert [world.complete(key, offer).status_code for offer in offers] == [200] * len(offers)

    assert order == ["tree/a", "tree/b", "tree"]
    assert world.stage(job["id"]) == "shipped"


def test_a_cycle_is_refused_at_submit(world: World) -> None:
    body = {**WORK, "children": [child("a", "b"), child("b", "c"), child("c", "a")]}
    problem = refused(world.ask("POST", "/fleet/jobs", token=world.owner, json=body), 422, "BadValue")

    assert all(name in problem["detail"] for name in "abc")
    assert world.do("GET", "/fleet/jobs")["jobs"] == []


def test_children_may_come_later_and_come_again(world: World) -> None:
    job = world.submit()
    path, body = f"/fleet/jobs/{job['id']}/children", {"children": [child("a"), child("b", "a")]}
    first = world.ask("POST", path, token=world.owner, json=body)
    again = world.ask("POST", path, token=world.owner, json=body)

    assert [first.status_code, again.status_code] == [201, 200]
    assert [each["id"] for each in first.json()["jobs"]] == [each["id"] for each in again.json()["jobs"]]
    assert world.stage(job["id"]) == "blocked"


def test_a_child_may_not_wait_for_what_waits_for_its_parent(world: World) -> None:
    job = world.submit()
    later = world.submit(deps=[job["id"]])
    answer = world.ask(
        "POST",
        f"/fleet/jobs/{job['id']}/children",
        token=world.owner,
        json={"children": [child("a", deps=[later["id"]])]},
    )

    refused(answer, 422, "BadValue")
    assert world.stage(job["id"]) == "queued"


def test_a_job_that_has_started_takes_no_children(world: World) -> None:
    job = world.submit()
    world.claim(world.factory())
    answer = world.ask("POST", f"/fleet/jobs/{job['id']}/children", token=world.owner, json={"children": [child("a")]})

    refused(answer, 409, "Conflict")


def test_the_same_tree_is_the_same_jobs_and_another_supersedes_all_of_it(world: World) -> None:
    tree: dict[str, Any] = {"idempotency_key": "tree", "children": [child("a"), child("b", "a")]}
    first = world.submit(**tree)
    again = world.ask("POST", "/fleet/jobs", token=world.owner, json={**WORK, **tree})
    other = world.submit(idempotency_key="tree", children=[child("a", command=["false"])])

    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert other["id"] != first["id"]
    assert {world.stage(each) for each in (first["id"], *first["children"])} == {"cancelled"}


def test_a_tree_that_lacks_a_child_is_another_body_and_one_that_was_given_a_child_is_not(world: World) -> None:
    tree: dict[str, Any] = {"idempotency_key": "tree", "children": [child("a"), child("b")]}
    first = world.submit(**tree)
    world.wait(1)
    world.do("POST", f"/fleet/jobs/{first['id']}/children", json={"children": [child("late")]})
    again = world.submit(**tree)
    less = world.submit(idempotency_key="tree", children=[child("a")])

    assert again["id"] == first["id"]
    assert less["id"] != first["id"]


def test_a_dependency_by_key_is_waited_for(world: World) -> None:
    world.submit(idempotency_key="data")
    job = world.submit(deps=["data"])
    key = world.factory()
    assert world.stage(job["id"]) == "blocked"
    world.complete(key, world.claim(key)[0])

    assert world.stage(job["id"]) == "queued"


# --- changes


def test_a_change_names_the_epoch_it_was_meant_for(world: World) -> None:
    job = world.submit()
    path, body = f"/fleet/jobs/{job['id']}", {"action": "cancel"}
    refused(world.ask("PATCH", path, token=world.owner, json=body), 428, "PreconditionMissing")
    refused(world.ask("PATCH", path, token=world.owner, json=body, headers={"If-Match": "*"}), 412)
    world.claim(world.factory())

    refused(world.change(job["id"], "cancel", epoch=0), 412, "PreconditionFailed")
    assert world.change(job["id"], "cancel", epoch=1).json()["stage"] == "cancelled"


def test_a_cancelled_job_fences_whoever_runs_it(world: World) -> None:
    job = world.submit()
    key = world.factory()
    offer = world.claim(key)[0]
    changed = world.change(job["id"], "cancel", reason="not wanted")
    beat = world.do(
        "POST",
        "/fleet/factories/heartbeat",
        token=key,
        json={"factory": "f1", "boot": "b1", "held": [{"job": job["id"], "epoch": offer["epoch"]}]},
    )

    assert changed.json()["epoch"] > offer["epoch"]
    assert [(command["job"], command["word"]) for command in beat["commands"]] == [(job["id"], "lost")]
    refused(world.complete(key, offer), 409, "LeaseLost")
    assert world.do("GET", f"/fleet/jobs/{job['id']}/events")["events"][-1]["why"].endswith("not wanted")


def test_requeue_reject_and_ship_go_by_the_table(world: World) -> None:
    key = world.factory()
    job = world.submit(ship="manual")
    refused(world.change(job["id"], "ship"), 409)
    offer = world.claim(key)[0]
    assert world.change(job["id"], "requeue").json()["stage"] == "queued"
    refused(world.complete(key, offer), 409, "LeaseLost")
    world.complete(key, world.claim(key)[0])
    assert world.stage(job["id"]) == "testing"
    assert world.change(job["id"], "ship").json()["stage"] == "shipped"
    for action in ("ship", "requeue", "reject", "cancel", "approve"):
        refused(world.change(job["id"], action), 409, "Conflict")
    assert world.change(world.submit()["id"], "reject").json()["stage"] == "dead_letter"


@pytest.mark.parametrize("action", ["promote", "", None, "SHIP"])
def test_an_unknown_change_is_refused(world: World, action: str | None) -> None:
    job = world.submit()
    answer = world.ask(
        "PATCH", f"/fleet/jobs/{job['id']}", token=world.owner, json={"action": action}, headers={"If-Match": '"0"'}
    )

    assert refused(answer, 422)["errors"][0]["at"] == "body.action"


def test_as_many_reviewers_approve_as_the_job_asks_for(world: World) -> None:
    job = world.submit(review={"approvals": 2, "reviewers": ["ada", "bob", "cleo"]})
    key = world.factory()
    world.complete(key, world.claim(key)[0])
    ada, bob, eve = (world.token("approver", name=name) for name in ("ada", "bob", "eve"))

    refused(world.change(job["id"], "approve", token=eve), 403, "NotApproved")
    assert world.change(job["id"], "approve", token=ada).json()["stage"] == "review"
    assert world.change(job["id"], "approve", token=ada).json()["stage"] == "review"
    assert world.change(job["id"], "approve", token=bob).json()["stage"] == "shipped"


def test_one_reviewer_who_declines_sends_the_job_back(world: World) -> None:
    job = world.submit(review={"approvals": 1})
    key = world.factory()
    world.complete(key, world.claim(key)[0])

    declined = world.change(job["id"], "decline", token=world.token("approver"), reason="too slow")
    assert declined.json()["stage"] == "queued"
    assert len(world.claim(key)) == 1


def test_an_open_server_hears_who_reviews(open_world: World) -> None:
    job = open_world.submit(review={"approvals": 1, "reviewers": ["ada"]})
    key = open_world.factory()
    open_world.complete(key, open_world.claim(key)[0])
    headers = {"If-Match": '"1"'}
    path = f"/fleet/jobs/{job['id']}"

    refused(open_world.ask("PATCH", path, json={"action": "approve"}, headers=headers), 403, "NotApproved")
    body = {"action": "approve", "reviewer": "ada"}
    assert open_world.ask("PATCH", path, json=body, headers=headers).json()["stage"] == "shipped"


# --- why


def test_why_a_job_waits_is_explained(world: World) -> None:
    job = world.submit(capabilities=["cuda>=12"], seats=2)
    path = f"/fleet/jobs/{job['id']}/explain"
    assert world.do("GET", path)["reasons"][0]["code"] == "no_factory"
    world.factory()
    assert world.do("GET", path)["reasons"][0]["code"] == "no_capable_factory"
    key = world.factory("f2", capabilities=["cuda==12.4"])
    assert world.do("GET", path)["reasons"][0]["code"] == "factory_stale"
    world.claim(key, "f2", seats=0)
    told = world.do("GET", path)
    assert told["reasons"][0]["code"] == "next"
    candidate = told["candidates"][0]
    assert candidate["factory"] == "f2"
    assert sum(candidate["score"]["terms"].values()) == pytest.approx(candidate["score"]["total"])
    world.do("POST", "/fleet/budgets/demo/pause", json={"reason": "month's end"})
    assert world.do("GET", path)["reasons"][0]["code"] == "budget_paused"
    world.do("POST", "/fleet/budgets/demo/resume", json={})
    world.claim(key, "f2")
    assert world.do("GET", path)["headline"] == "It is assigned to f2."


def test_a_job_behind_a_more_urgent_one_is_told_so(world: World) -> None:
    job, first = world.submit(), world.submit(priority="critical")
    key = world.factory()
    world.claim(key, seats=0)

    told = world.do("GET", f"/fleet/jobs/{job['id']}/explain")
    assert told["reasons"][0]["code"] == "behind"
    assert told["reasons"][0]["jobs"] == [first["id"]]


def test_a_preemption_is_told_before_it_is_done(world: World) -> None:
    victim = world.submit(seats=4, priority="low")
    key = world.factory()
    offer = world.claim(key)[0]
    world.do(
        "POST",
        "/fleet/leases/start",
        token=key,
        json={
            "factory": "f1",
            "boot": "b1",
            "job": victim["id"],
            "epoch": offer["epoch"],
            "pid": 7,
            "pid_started": 1.0,
        },
    )
    urgent = world.submit(seats=4, priority="critical")
    world.wait(80)

    told = world.do("POST", "/fleet/preemptions", json={"job": urgent["id"]})
    assert [each["job"] for each in told["victims"]] == [victim["id"]]
    assert (told["enabled"], told["factory"]) == (False, "f1")
    order = {"job": urgent["id"], "dry_run": False}
    refused(world.ask("POST", "/fleet/preemptions", token=world.owner, json=order), 403, "Refused")
    refused(world.ask("POST", "/fleet/preemptions", token=world.token("viewer"), json=order), 403)
    assert world.stage(victim["id"]) == "building"
    refused(world.ask("POST", "/fleet/preemptions", token=world.owner, json={"job": victim["id"]}), 409)


# --- what a person looks at


def test_a_list_tells_what_became_of_each_job_if_it_is_asked(world: World) -> None:
    job = world.submit()
    plain = world.do("GET", f"/fleet/jobs?product={PRODUCT}")["jobs"]
    told = world.do("GET", f"/fleet/jobs?product={PRODUCT}&summary=true")["jobs"]

    assert "summary" not in plain[0]
    assert (told[0]["id"], told[0]["summary"]["attempts"], told[0]["summary"]["outcome"]) == (job["id"], 0, None)


def test_a_log_on_the_servers_machine_is_told(world: World) -> None:
    """Where the job ran elsewhere, it is told where."""
    job = world.submit()
    (offer,) = world.claim(world.factory())
    path = f"/fleet/jobs/{job['id']}/log"
    refused(world.ask("GET", path, token=world.owner), 404, "NotFound")
    folder = world.home / offer["folder"]
    folder.mkdir(parents=True)
    (folder / "log.txt").write_bytes(b"one\n\xff\x1b[2J")
    viewer, stranger = world.token("viewer"), world.token("viewer", product=OTHER)

    assert world.do("GET", path, token=viewer) == {
        "job": job["id"],
        "path": f"{offer['folder']}/log.txt",
        "text": "one\n\ufffd\x1b[2J",
    }
    refused(world.ask("GET", path, token=stranger), 404)
    refused(world.ask("GET", f"/fleet/jobs/{job['id']}/details", token=stranger), 404)
    (folder / "log.txt").unlink()
    (folder / "log.txt").symlink_to(world.home / "pilothouse.db")
    refused(world.ask("GET", path, token=viewer), 404)
