"""What factories ask over HTTP: claims, leases, reports, artifacts."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.factory.messages import beat_from_json, offer_from_json
from pilothouse.trainer import tree
from pilothouse.web.tar import packed, unpack
from tests.web.world import ARTIFACT_BYTES, OTHER, REPORT, World, refused

SAID = {"factory": "f1", "boot": "b1"}
WAIT_SECONDS = 30.0


def test_a_batch_is_claimed_and_completed(world: World) -> None:
    jobs = [world.submit()["id"] for _ in range(3)]
    key = world.factory()
    offers = world.claim(key)
    reports = [{"job": offer["job"], "epoch": offer["epoch"], "report": REPORT} for offer in offers]
    answer = world.do("POST", "/fleet/complete", token=key, json={**SAID, "reports": reports})

    assert [offer["job"] for offer in offers] == jobs
    assert [offer_from_json(offer).epoch for offer in offers] == [1, 1, 1]
    assert [result["accepted"] for result in answer["results"]] == [True] * 3
    assert {world.stage(job) for job in jobs} == {"shipped"}
    assert world.do("GET", f"/fleet/jobs/{jobs[0]}/runs")["runs"][0]["metrics"] == {"loss": 0.5}


def test_no_more_is_offered_than_fits(world: World) -> None:
    for seats in (3, 2, 1):
        world.submit(seats=seats)
    key = world.factory()

    assert [offer["spec"]["seats"] for offer in world.claim(key)] == [3, 1]


def test_a_claim_waits_until_there_is_a_job(world: World) -> None:
    key = world.factory()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(world.claim, key, wait_seconds=WAIT_SECONDS)
        job = world.submit()
        offers = waiting.result(WAIT_SECONDS)

    assert [offer["job"] for offer in offers] == [job["id"]]


def test_a_server_that_ends_sends_home_who_waits(world: World) -> None:
    key = world.factory()
    waiting = world.parts.waiting
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(world.claim, key, wait_seconds=60)
        begun = threading.Event()
        while not waiting._tasks and not begun.wait(0.01):
            pass
        waiting.leave()

        assert answer.result(WAIT_SECONDS) == []


def test_an_offer_that_got_lost_is_made_again(world: World) -> None:
    world.submit()
    key = world.factory()
    first = world.claim(key)
    again = world.claim(key)
    held = [{"job": first[0]["job"], "epoch": first[0]["epoch"]}]

    assert first == again
    assert world.claim(key, held=held) == []


def test_a_report_is_taken_once_and_may_come_again(world: World) -> None:
    world.submit()
    key = world.factory()
    offer = world.claim(key)[0]

    assert [world.complete(key, offer).status_code for _ in range(2)] == [200, 200]
    refused(world.complete(key, offer, outcome="crashed", exit_code=1), 409, "LeaseLost")
    refused(world.complete(key, offer | {"epoch": 0}), 409, "LeaseLost")
    refused(world.complete(key, offer | {"epoch": 2}), 409, "LeaseLost")
    refused(world.complete(key, offer | {"job": "job-none"}), 404, "NotFound")


def test_one_bad_report_does_no_harm_to_the_others(world: World) -> None:
    world.submit()
    world.submit()
    key = world.factory()
    good, bad = world.claim(key)
    reports = [
        {"job": good["job"], "epoch": good["epoch"], "report": REPORT},
        {"job": bad["job"], "epoch": bad["epoch"], "report": {**REPORT, "outcome": "fine"}},
        {"job": bad["job"], "epoch": 7, "report": REPORT},
    ]
    results = world.do("POST", "/fleet/complete", token=key, json={**SAID, "reports": reports})["results"]

    assert [result["accepted"] for result in results] == [True, False, False]
    assert [result["problem"] and result["problem"]["status"] for result in results] == [None, 422, 409]
    assert world.stage(bad["job"]) == "assigned"


@pytest.mark.parametrize(
    "said",
    [
        {"seconds": -1},
        {"seconds": "NaN"},
        {"exit_code": 1 << 60},
        {"metrics": {"loss": "big"}},
        {"artifacts": [{"name": "m", "digest": "d", "size_bytes": 1 << 60, "meta": {}}]},
        {"evidence": 5},
        {"cost": {"usd": "much"}},
    ],
)
def test_a_report_that_no_store_could_hold_is_refused(world: World, said: dict[str, Any]) -> None:
    world.submit()
    key = world.factory()

    refused(world.complete(key, world.claim(key)[0], **said), 422, "BadValue")


def test_what_a_program_has_written_is_no_harm_to_the_store(world: World) -> None:
    """Texts of programs hold whatever bytes they like; every store must take them or refuse them."""
    job = world.submit()["id"]
    key = world.factory()
    offer = world.claim(key)[0]
    odd = "a\x00b\x1b[31m\u202e\U0001f600"
    held = [{"job": job, "epoch": 1, "progress": {"step": 1, "total": None, "values": {odd: 1.0}}}]
    beat = world.ask("POST", "/fleet/factories/heartbeat", token=key, json={**SAID, "held": held})
    artifacts = [{"name": "m", "digest": "0" * 64, "size_bytes": 1, "meta": {odd: odd}}]
    said: dict[str, Any] = {"detail": odd, "evidence": odd, "metrics": {odd: 1.0}, "artifacts": artifacts}
    answer = world.complete(key, offer, **said)

    assert (beat.status_code, answer.status_code) == (200, 200), answer.text
    assert world.ask("GET", f"/fleet/jobs/{job}/runs", token=world.owner).status_code == 200


def test_another_factory_completes_nothing_of_mine(world: World) -> None:
    world.submit()
    offer = world.claim(world.factory())[0]
    theirs = world.factory("f2")

    refused(world.complete(theirs, offer, factory="f2"), 409, "LeaseLost")
    body = {"factory": "f2", "boot": "b1", "job": offer["job"], "epoch": 1, "pid": 1, "pid_started": 1.0}
    refused(world.ask("POST", "/fleet/leases/start", token=theirs, json=body), 409, "LeaseLost")
    assert world.stage(offer["job"]) == "assigned"


def test_a_factory_of_one_product_is_offered_nothing_of_another(world: World) -> None:
    world.submit(product=OTHER)

    assert world.claim(world.factory()) == []
    assert len(world.claim(world.factory("f2", product=None), "f2")) == 1


def test_an_attempt_starts_and_its_signs_of_life_are_kept(world: World) -> None:
    job = world.submit()["id"]
    key = world.factory()
    offer = world.claim(key)[0]
    start = {**SAID, "job": job, "epoch": offer["epoch"], "pid": 42, "pid_started": 1.5}
    assert world.ask("POST", "/fleet/leases/start", token=key, json=start).status_code == 204
    refused(world.ask("POST", "/fleet/leases/start", token=key, json={**start, "epoch": 9}), 409, "LeaseLost")
    progress = {"step": 3, "total": 10, "values": {"loss": "NaN"}}
    held = [{"job": job, "epoch": offer["epoch"], "progress": progress}]
    beat = world.do("POST", "/fleet/leases/renew", token=key, json={**SAID, "held": held})

    assert beat_from_json(beat).lease_seconds == 90.0
    run = world.do("GET", f"/fleet/jobs/{job}/runs")["runs"][0]
    assert (run["progress"]["step"], run["progress"]["values"]) == (3, {"loss": "NaN"})
    assert world.stage(job) == "building"


def test_a_beat_tells_what_is_new_about_the_factory(world: World) -> None:
    world.submit(capabilities=["cuda"])
    key = world.factory()
    assert world.claim(key) == []
    facts = {"seats": 2, "capabilities": ["cuda"], "usd_per_hour": 1.5}
    world.do("POST", "/fleet/factories/heartbeat", token=key, json={**SAID, "facts": facts})

    shown = world.do("GET", "/fleet/factories/f1")
    assert (shown["seats"], shown["capabilities"], shown["usd_per_hour"], shown["alive"]) == (2, ["cuda"], 1.5, True)
    assert len(world.claim(key)) == 1


def test_a_factory_that_never_enrolled_is_not_heard(open_world: World) -> None:
    for path in ("claim", "factories/heartbeat"):
        answer = open_world.ask("POST", f"/fleet/{path}", json={**SAID, **({"facts": {}} if "heart" in path else {})})
        refused(answer, 404, "NotFound")


def test_released_attempts_go_back_and_count_as_no_failure(world: World) -> None:
    job = world.submit()["id"]
    key = world.factory()
    offer = world.claim(key)[0]
    leases = [{"job": job, "epoch": offer["epoch"]}]
    world.do("POST", "/fleet/leases/release", token=key, json={**SAID, "leases": leases, "why": "draining"})
    shown = world.do("GET", f"/fleet/jobs/{job}")

    assert (shown["stage"], shown["failures"]) == ("queued", 0)
    refused(world.complete(key, offer), 409, "LeaseLost")


def test_a_draining_factory_is_told_so_and_gets_nothing(world: World) -> None:
    key = world.factory()
    world.claim(key)
    world.do("POST", "/fleet/factories/f1/drain", json={})
    world.submit()

    assert world.do("POST", "/fleet/factories/heartbeat", token=key, json=SAID)["draining"] is True
    assert world.claim(key) == []
    world.do("POST", "/fleet/factories/f1/resume", json={})
    assert len(world.claim(key)) == 1


def test_a_new_boot_takes_over_and_the_old_one_is_over(world: World) -> None:
    world.submit()
    key = world.factory()
    old = world.claim(key)[0]
    world.claim(key, boot="b2")
    new = world.claim(key, boot="b2")[0]

    assert new["epoch"] > old["epoch"]
    refused(world.complete(key, old), 409, "LeaseLost")
    assert world.complete(key, new).status_code == 200


def test_weights_of_a_request_decide(world: World) -> None:
    old = world.submit()["id"]
    world.wait(60)
    world.submit(priority="critical", seats=2)
    key = world.factory()
    refused(world.ask("POST", "/fleet/claim", token=key, json={**SAID, "weights": {"colour": 1}}), 422)

    assert world.claim(key, jobs=1, weights={"priority": 0})[0]["job"] == old


# --- artifacts


def sealed(folder: Path, text: str = "weights") -> str:
    """Return the digest of a new sealed folder."""
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "model.txt").write_text(text)
    (folder / "empty").touch()
    return tree.seal(folder, {"step": 7})


def tar_of(folder: Path) -> bytes:
    return b"".join(packed(folder))


def upload(world: World, key: str, offer: dict[str, Any], digest: str, body: bytes, **more: Any) -> Any:
    """Return the answer to an upload."""
    path = f"/fleet/jobs/{offer['job']}/artifacts/model?epoch={offer['epoch']}&digest={digest}"
    return world.ask("POST", path, token=key, content=body, headers={"Content-Type": "application/x-tar"}, **more)


def test_an_artifact_is_published_by_its_attempts_report(world: World, tmp_path: Path) -> None:
    digest = sealed(tmp_path / "out")
    job = world.submit()["id"]
    key = world.factory()
    offer = world.claim(key)[0]
    sent = upload(world, key, offer, digest, tar_of(tmp_path / "out"))
    where = f"/fleet/jobs/{job}/artifacts/model"

    assert (sent.status_code, sent.json()["digest"], sent.json()["meta"]) == (201, digest, {"step": 7})
    refused(world.ask("GET", where, token=world.owner), 404, "NotFound")
    refused(world.ask("GET", f"/fleet/artifacts/{digest}", token=key), 404, "NotFound")
    published = [{"name": "model", "digest": digest, "size_bytes": 7, "meta": {}}]
    assert world.complete(key, offer, artifacts=published).status_code == 200
    assert world.do("GET", f"/fleet/jobs/{job}/artifacts")["artifacts"][0]["digest"] == digest
    for path in (where, f"/fleet/artifacts/{digest}"):
        got = world.ask("GET", path, token=key)
        assert got.headers["pilothouse-digest"] == digest
        assert got.headers["content-disposition"].startswith("attachment")
        archive = tmp_path / "got.tar"
        archive.write_bytes(got.content)
        folder = tmp_path / f"got{len(path)}"
        unpack(archive, folder)
        assert tree.verify(folder).digest == digest


def test_another_product_reads_no_artifact_of_mine(world: World, tmp_path: Path) -> None:
    digest = sealed(tmp_path / "out")
    world.submit()
    key = world.factory()
    offer = world.claim(key)[0]
    upload(world, key, offer, digest, tar_of(tmp_path / "out"))
    world.complete(key, offer, artifacts=[{"name": "model", "digest": digest, "size_bytes": 7, "meta": {}}])
    theirs = world.factory("f2", product=OTHER)

    refused(world.ask("GET", f"/fleet/artifacts/{digest}", token=theirs), 404)
    refused(world.ask("GET", f"/fleet/jobs/{offer['job']}/artifacts/model", token=theirs), 404)
    assert world.ask("GET", f"/fleet/artifacts/{digest}?product=demo", token=world.owner).status_code == 200


def test_a_withdrawn_artifact_is_gone(world: World, tmp_path: Path) -> None:
    digest = sealed(tmp_path / "out")
    world.submit()
    key = world.factory()
    offer = world.claim(key)[0]
    upload(world, key, offer, digest, tar_of(tmp_path / "out"))
    world.complete(key, offer, artifacts=[{"name": "model", "digest": digest, "size_bytes": 7, "meta": {}}])
    where = f"/fleet/jobs/{offer['job']}/artifacts/model"

    assert world.ask("DELETE", where, token=world.token("operator")).status_code == 204
    refused(world.ask("GET", where, token=world.owner), 404)
    refused(world.ask("DELETE", where, token=world.owner), 404)


def test_an_upload_of_an_attempt_that_is_over_is_refused(world: World, tmp_path: Path) -> None:
    digest = sealed(tmp_path / "out")
    body = tar_of(tmp_path / "out")
    world.submit()
    key = world.factory()
    offer = world.claim(key)[0]
    theirs = world.factory("f2")

    refused(upload(world, key, offer | {"epoch": 0}, digest, body), 409, "LeaseLost")
    refused(upload(world, theirs, offer, digest, body), 409, "LeaseLost")
    world.change(offer["job"], "requeue")
    refused(upload(world, key, offer, digest, body), 409, "LeaseLost")


def test_an_upload_that_is_not_what_it_says_is_refused(world: World, tmp_path: Path) -> None:
    digest = sealed(tmp_path / "out")
    body = tar_of(tmp_path / "out")
    world.submit()
    key = world.factory()
    offer = world.claim(key)[0]

    refused(upload(world, key, offer, "0" * 64, body), 409, "ArtifactDamaged")
    refused(upload(world, key, offer, digest, body.replace(b"weights", b"weirdos")), 409, "ArtifactDamaged")
    refused(upload(world, key, offer, digest, b"no tar at all"), 422, "BadValue")
    refused(upload(world, key, offer, digest, b""), 422, "BadValue")
    refused(upload(world, key, offer, digest, body[:600]), 422, "BadValue")
    refused(upload(world, key, offer, digest, b"x" * (ARTIFACT_BYTES + 1)), 413, "TooLarge")
    assert list((world.home / "incoming").iterdir()) == []


def hostile(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return an archive with one member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = 1 if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(b"x"))
    return buffer.getvalue()


HOSTILE = ["../a", "/etc/a", "a/../../b", "a/./b", "./a", "a//b", "..", "a\\b", "a\nb", "\u202ea", "x" * 2000, "a/"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(hostile(name))

    with pytest.raises(BadValue):
        unpack(archive, tmp_path / "in")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(hostile("a", kind=kind, link="/etc/passwd"))

    with pytest.raises(BadValue):
        unpack(archive, tmp_path / "in")


@given(data=st.binary(max_size=2048), name=st.text(max_size=40))
def test_no_archive_writes_outside(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    """Whatever the bytes are, what is written lies below the folder, or it is refused."""
    folder = tmp_path_factory.mktemp("tar")
    archive = folder / "a.tar"
    try:
        head = hostile(name or "a")
    except (ValueError, UnicodeError):
        head = b""
    archive.write_bytes(head[:512] + data)
    with suppress(BadValue):
        unpack(archive, folder / "in")
    inside = {path for path in folder.rglob("*") if path.is_file() or path.is_symlink()} - {archive}
    assert all(path.resolve().is_relative_to((folder / "in").resolve()) for path in inside)


def test_a_folder_goes_through_an_archive_unchanged(tmp_path: Path) -> None:
    digest = sealed(tmp_path / "out", "x" * 3_000_000)
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_of(tmp_path / "out"))
    unpack(archive, tmp_path / "in")

    assert tree.verify(tmp_path / "in").digest == digest
    with tarfile.open(archive) as tar:
        assert "deep/model.txt" in tar.getnames()


# --- budgets and figures


def test_a_budget_is_set_paused_and_resumed(world: World) -> None:
    body = {"usd": 5, "window_seconds": 3600, "enforced": True}
    assert world.do("PUT", "/fleet/budgets/demo", json=body)["state"] == "active"
    paused = world.do("POST", "/fleet/budgets/demo/pause", token=world.token("operator"), json={"reason": "stop"})
    assert (paused["state"], paused["paused"]["by"], paused["paused"]["why"]) == ("paused", "ada", "stop")
    world.submit()
    key = world.factory(usd_per_hour=1.0)
    assert world.claim(key) == []
    world.do("POST", "/fleet/budgets/demo/resume", json={})
    offer = world.claim(key)[0]
    reserved = world.do("GET", "/fleet/budgets/demo")["reserved"]
    world.complete(key, offer, cost={"usd": 1.25})
    after = world.do("GET", "/fleet/budgets/demo")

    assert reserved["usd"] == 2.0
    assert (after["spent"]["usd"], after["reserved"]["usd"]) == (1.25, 0.0)


def test_a_budget_that_was_never_set_is_not_there(world: World) -> None:
    refused(world.ask("GET", "/fleet/budgets/demo", token=world.owner), 404, "NotFound")
    refused(world.ask("POST", "/fleet/budgets/demo/resume", token=world.owner, json={}), 404, "NotFound")
    assert world.do("POST", "/fleet/budgets/demo/pause?engine=codex", json={})["engine"] == "codex"


def test_figures_and_alerts_tell_how_the_fleet_stands(world: World) -> None:
    world.submit()
    world.wait(7200)
    lonely = world.do("GET", "/fleet/metrics")
    world.factory("f2")
    key = world.factory()
    offer = world.claim(key, seats=1)[0]
    world.submit(seats=4)
    busy = world.do("GET", "/fleet/metrics")
    world.complete(key, offer)
    text = world.ask("GET", "/metrics", token=world.token("viewer")).text

    assert [alert["kind"] for alert in lonely["alerts"]] == ["no_live_capacity", "queue_starvation"]
    assert lonely["products"]["demo"]["queue_depth"] == 1
    assert lonely["products"]["demo"]["oldest_queued_seconds"] == 7200.0
    assert [alert["kind"] for alert in busy["alerts"]] == ["stale_factories"]
    assert (busy["products"]["demo"]["seats"], busy["products"]["demo"]["seats_taken"]) == (4, 1)
    assert 'pilothouse_jobs{product="demo",stage="shipped"} 1.0' in text
    assert 'pilothouse_claims_total{product="demo"} 1.0' in text
    assert 'pilothouse_sessions{product="demo"} 1.0' in text


def test_the_queues_state_changes_with_the_queue(world: World) -> None:
    key = world.factory()
    before = world.do("GET", "/fleet/queue-state", token=key)["version"]
    assert world.do("GET", "/fleet/queue-state", token=key)["version"] == before
    world.submit()

    assert world.do("GET", "/fleet/queue-state", token=key)["version"] > before


def test_settings_are_kept_and_heeded(world: World) -> None:
    settings = {"preemption": True, "weights": {"age": 2.0}}
    assert world.do("PUT", "/fleet/settings/demo", json=settings)["weights"] == {"age": 2.0}
    shown = world.do("GET", "/fleet/settings/demo")

    assert (shown["preemption"], shown["stop_grace_seconds"]) == (True, 30.0)
    refused(world.ask("PUT", "/fleet/settings/demo", token=world.owner, json={"weights": {"colour": 1}}), 422)
    assert json.loads(world.ask("GET", "/fleet/settings/other", token=world.owner).text)["preemption"] is False


def test_a_worker_of_another_product_is_told_that_there_is_no_such_job(world: World) -> None:
    """Alone or among other reports, and not in which stage it is."""
    key, stranger = world.factory(), world.factory("f2", product=OTHER)
    world.submit()
    (offer,) = world.claim(key)
    lease = {"job": offer["job"], "epoch": offer["epoch"]}
    said = {"factory": "f2", "boot": "b2"}
    world.claim(stranger, "f2", "b2")
    alone = world.ask("POST", "/fleet/complete", token=stranger, json=said | {"reports": [lease | {"report": REPORT}]})
    started = world.ask("POST", "/fleet/leases/start", token=stranger, json=said | lease | {"pid": 1, "pid_started": 1})
    several = world.ask("POST", "/fleet/leases/release", token=stranger, json=said | {"leases": [lease, lease]})

    for answer in (alone, started):
        assert "epoch" not in refused(answer, 404, "NotFound")["detail"]
    assert [each["problem"]["title"] for each in several.json()["results"]] == ["NotFound", "NotFound"]
    assert world.complete(key, offer).is_success
