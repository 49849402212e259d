"""A factory of another machine: over HTTP, with its own disk, through everything that a network does."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilothouse.errors import (
    ArtifactDamaged,
    BadValue,
    LeaseLost,
    NotAuthenticated,
    NotFound,
    OperationFailed,
    PilothouseError,
    Refused,
    StorageFailed,
    Unreachable,
)
from pilothouse.factory.discover import Facts
from pilothouse.factory.remote_blobs import RemoteBlobs
from pilothouse.factory.remote_dispatch import HttpDispatch
from pilothouse.factory.server_line import ServerLine, is_loopback
from pilothouse.fleet.job import Cost, Outcome, Progress, Report
from pilothouse.ids import ArtifactDigest, BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Beat, Command, Held, Word
from pilothouse.testing.factory_bench import SPEC, Asked, Bench, is_running
from pilothouse.trainer import tree
from tests.factory.programs import PLAIN
from tests.factory.small_server import SmallServer

NAME, BOOT = FactoryName("far-1"), BootId("boot-1")
FACTS = Facts(seats=2, gpus=0, capabilities=("os:linux",), engines=(), pools=None)
REPORT = Report(
    outcome=Outcome.CRASHED,
    detail="d",
    exit_code=1,
    metrics={"loss": float("nan")},
    artifacts=(),
    seconds=1.0,
    cost=Cost(usd=0.5),
)
RUN = "from pilothouse.cli.factory import app; app()"


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[SmallServer]:
    (tmp_path / "server").mkdir()
    with SmallServer(tmp_path / "server").serving() as server:
        yield server


@pytest.fixture(name="line")
def _line(server: SmallServer) -> Iterator[ServerLine]:
    line = ServerLine(server.url, key="ph_worker_one")
    yield line
    line.close()


@pytest.fixture(name="asking")
def _asking(line: ServerLine) -> HttpDispatch:
    return HttpDispatch(line, factory=NAME, boot=BOOT, facts=FACTS)


def beat(asking: HttpDispatch) -> Beat:
    """Beat while nothing is held."""
    return asking.beat(factory=NAME, boot=BOOT, held=())


# --- the words


def test_every_question_arrives_as_it_was_asked(bench: Bench, server: SmallServer, asking: HttpDispatch) -> None:
    """Over HTTP as over the socket pair."""
    offer = bench.offer_for("pass", epoch=3, earlier=[2, 1])
    order = Command(job=offer.job, epoch=offer.epoch, word=Word.STOP, seconds=7.5, why="w")
    server.dispatch.offer(offer)
    server.dispatch.order(order)
    held = (Held(job=offer.job, epoch=offer.epoch, progress=Progress(step=4, total=None, values={"loss": 0.5})),)

    claimed = asking.claim(factory=NAME, boot=BOOT, wait_seconds=1, pools=["b", "a"], seats=2, jobs=2)
    assert claimed == (offer,)
    answer = asking.beat(factory=NAME, boot=BOOT, held=held)
    asking.start(offer.job, epoch=offer.epoch, pid=7, pid_started=1.5, resume_step=4)
    asking.complete(offer.job, epoch=offer.epoch, report=REPORT)

    assert answer == Beat(lease_seconds=30.0, commands=(order,))
    assert server.dispatch.claims == [Asked(factory=NAME, boot=BOOT, seats=2, held=(), pools=["a", "b"], jobs=2)]
    assert server.dispatch.beats == [(NAME, BOOT, held)]
    assert server.dispatch.starts == [("job-1", 3, 7, 1.5)]
    assert server.dispatch.resume_steps == {("job-1", 3): 4}
    assert repr(server.dispatch.reports) == repr({("job-1", 3): REPORT})
    assert {heard.bearer for heard in server.heard} == {"ph_worker_one"}


def test_a_boot_tells_its_facts_until_they_were_heard(server: SmallServer, asking: HttpDispatch) -> None:
    """Once is enough, and an answer that failed is not once."""
    server.dispatch.fails = lambda _: StorageFailed("no", fix="wait")
    with pytest.raises(Unreachable):
        beat(asking)
    server.dispatch.fails = lambda _: None
    beat(asking)
    beat(asking)

    told = [body["facts"] for body in server.bodies("/fleet/factories/heartbeat")]
    assert told == [FACTS.as_json(), FACTS.as_json(), None]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LeaseLost("what happened", fix="what to do"), LeaseLost),
        (NotAuthenticated("what happened", fix="what to do"), NotAuthenticated),
        (Refused("what happened", fix="what to do"), Refused),
        (BadValue("what happened", fix="what to do"), BadValue),
        (StorageFailed("what happened", fix="what to do"), Unreachable),
    ],
)
def test_an_error_crosses_with_its_type(
    error: PilothouseError, kind: type[PilothouseError], server: SmallServer, asking: HttpDispatch
) -> None:
    """With its message and its mend; a server that is only busy is one to ask again."""
    server.dispatch.fails = lambda _: error

    with pytest.raises(kind, match="what happened") as failure:
        beat(asking)

    assert type(failure.value) is kind
    assert failure.value.fix == "what to do"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, b"<html>Welcome</html>"), OperationFailed),
        ((200, b'{"lease_seconds": "long"}'), BadValue),
        ((404, b"<html>Not here</html>"), OperationFailed),
        ((502, b"<html>Bad gateway</html>"), Unreachable),
        ((409, b'{"title": "LeaseLost"}'), OperationFailed),
        ((418, b'{"title": "Teapot", "detail": "d", "fix": "f"}'), OperationFailed),
    ],
)
def test_an_answer_that_is_not_ours_is_named(
    answer: tuple[int, bytes], kind: type[PilothouseError], server: SmallServer, asking: HttpDispatch
) -> None:
    """Never a traceback, whatever stands at that address."""
    server.raw = answer

    with pytest.raises(PilothouseError) as failure:
        beat(asking)

    assert type(failure.value) is kind


def test_a_server_that_is_away_is_one_to_ask_again() -> None:
    """Nobody listens; or somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        line = ServerLine(f"http://127.0.0.1:{port}", key=None)
        with pytest.raises(Unreachable, match="does not answer"):
            line.post("/fleet/claim", {}, answer_seconds=0.2)
    with pytest.raises(Unreachable, match="does not answer"):
        line.post("/fleet/claim", {})
    line.close()


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host", "http://", "http://[", "file:///etc/passwd"])
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(BadValue, match="URL"):
        ServerLine(url, key=None)


def test_this_machine_is_told_from_others() -> None:
    """By name or number."""
    assert is_loopback("http://127.0.0.1:1")
    assert is_loopback("http://[::1]:1")
    assert is_loopback("http://localhost")
    assert not is_loopback("http://localhost.example")
    assert not is_loopback("http://10.0.0.1")


# --- the blobs


def kept(server: SmallServer, folder: Path, text: str = "w" * 3000) -> ArtifactDigest:
    """Let the server keep a folder of one file."""
    folder.mkdir(parents=True)
    (folder / "weights").write_text(text, encoding="utf-8")
    tree.seal(folder)
    return server.blobs.put(folder).digest


@pytest.fixture(name="far")
def _far(tmp_path: Path, line: ServerLine) -> RemoteBlobs:
    return RemoteBlobs(tmp_path / "far-blobs", line)


def test_an_input_is_fetched_once(server: SmallServer, far: RemoteBlobs, tmp_path: Path) -> None:
    """And found on this machine's own disk from then on."""
    digest = kept(server, tmp_path / "made")

    assert (far.path(digest) / "weights").read_text(encoding="utf-8") == "w" * 3000
    assert far.path(digest).is_relative_to(tmp_path / "far-blobs")
    assert [heard.path for heard in server.heard] == [f"/fleet/artifacts/{digest}"]


def test_a_copy_that_is_damaged_here_is_fetched_anew(server: SmallServer, far: RemoteBlobs, tmp_path: Path) -> None:
    """The server's own is good, so nothing is marked as damaged."""
    digest = kept(server, tmp_path / "made")
    victim = far.path(digest) / "weights"
    victim.chmod(0o644)
    victim.write_text("x" * 3000, encoding="utf-8")

    assert (far.path(digest) / "weights").read_text(encoding="utf-8") == "w" * 3000
    assert len(server.heard) == 2


def test_a_line_that_breaks_in_the_middle_is_one_to_try_again(
    server: SmallServer, far: RemoteBlobs, tmp_path: Path
) -> None:
    """Nothing of the half stays behind."""
    digest = kept(server, tmp_path / "made")
    server.breaks = [2500, 100]

    for _ in range(2):
        with pytest.raises(Unreachable):
            far.fetch(digest, touch=lambda: None)
    far.fetch(digest, touch=lambda: None)

    assert far.path(digest).is_dir()
    assert list((tmp_path / "far-blobs" / ".fetched").iterdir()) == []


def test_what_changes_on_the_way_is_not_taken_and_accuses_nobody(
    server: SmallServer, far: RemoteBlobs, tmp_path: Path
) -> None:
    """The server would make the artifact anew if it were called damaged."""
    digest = kept(server, tmp_path / "made")
    server.spoils = True

    with pytest.raises(OperationFailed, match="on the way") as failure:
        far.fetch(digest, touch=lambda: None)

    assert not isinstance(failure.value, ArtifactDamaged)
    assert not far.folder(digest).exists()


def test_an_input_that_the_server_does_not_have_is_named(far: RemoteBlobs) -> None:
    """With its digest."""
    with pytest.raises(NotFound, match="0" * 64):
        far.path(ArtifactDigest("0" * 64))


def test_an_artifact_is_given_to_the_server(server: SmallServer, far: RemoteBlobs, tmp_path: Path) -> None:
    """Under its job, epoch and name, however odd the name."""
    (tmp_path / "scores").write_text("1.5", encoding="utf-8")
    stored = far.put(tmp_path / "scores")
    touched: list[int] = []

    far.send(JobId("job-1"), epoch=Epoch(4), name="a b/ü", digest=stored.digest, touch=lambda: touched.append(1))

    (heard,) = server.heard
    assert heard.path == "/fleet/jobs/job-1/artifacts/a%20b%2F%C3%BC"
    assert heard.body == {"epoch": "4", "digest": stored.digest}
    assert (server.blobs.path(stored.digest) / "scores").read_text(encoding="utf-8") == "1.5"
    assert touched


# --- the process


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(name="start")
def _start(server: SmallServer, tmp_path: Path) -> Iterator[Start]:
    """Start `pilothouse factory` against the server; whatever is left of it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, stdin: str = "", **more: str) -> subprocess.Popen[str]:
        variables = {"PATH": os.defpath, "PILOTHOUSE_HOME": str(tmp_path / "far"), **more}
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words, "--server", server.url, "--name", NAME],
            env=variables,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def far_folder(tmp_path: Path, job: str = "job-1") -> Path:
    """Return the run folder of a job on the far machine."""
    return tmp_path / "far" / "factories" / NAME / "runs" / job / "attempt-1"


def far_pid(bench: Bench, tmp_path: Path, name: str = "up") -> int:
    """Wait until the program has left its process number."""
    path = far_folder(tmp_path) / name
    bench.until(lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"))
    return int(path.read_text(encoding="utf-8"))


def test_a_factory_enrols_once_and_works(bench: Bench, server: SmallServer, start: Start, tmp_path: Path) -> None:
    """Token in, key out, job in, artifact out; the token and the key are seen by nobody else."""
    enrolment = start("enroll", stdin="ph_enrolment_once\n")
    assert enrolment.wait(60) == 0
    server.keys = {"ph_worker_one"}
    digest = kept(server, tmp_path / "made", "input")
    text = PLAIN + (
        "shard = Path(order['inputs']['shards'][0]) / 'weights'\n"
        "(run / 'out').write_text(shard.read_text() + ' seen')\nmark('up')\nfinish({'loss': 0.5}, {'out': 'out'})"
    )
    server.dispatch.offer(
        bench.offer_for(text, spec=dataclasses.replace(SPEC, inputs={"shards": (digest,)}, artifacts=("out",)))
    )

    factory = start("run", "--seats", "2")
    server.dispatch.until(lambda: server.dispatch.reports)
    server.dispatch.drain()
    factory.send_signal(signal.SIGTERM)

    assert factory.wait(60) == 128 + signal.SIGTERM
    (report,) = server.dispatch.reports.values()
    assert (report.outcome, report.metrics) == (Outcome.SUCCEEDED, {"loss": 0.5}), report.detail
    assert (server.blobs.path(report.artifacts[0].digest) / "out").read_text(encoding="utf-8") == "input seen"
    assert server.heard[0].bearer == "ph_enrolment_once"
    key = tmp_path / "far" / "factories" / NAME / "worker.json"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    (facts,) = (body["facts"] for body in server.bodies("/fleet/factories/heartbeat") if body["facts"])
    assert facts["seats"] == 2
    assert "arch" in " ".join(facts["capabilities"])


def test_a_factory_that_is_given_a_token_enrols_by_itself(
    bench: Bench, server: SmallServer, start: Start, tmp_path: Path
) -> None:
    """And none of its jobs sees the token."""
    server.keys = {"ph_worker_one", "ph_enrolment_once"}
    text = PLAIN + "(run / 'seen').write_text('\\n'.join(os.environ))\nmark('up')\nfinish()"
    server.dispatch.offer(bench.offer_for(text))

    start("run", PILOTHOUSE_ENROLMENT_TOKEN="ph_enrolment_once")  # noqa: S106  no password of anything
    far_pid(bench, tmp_path)

    assert [heard.bearer for heard in server.heard[:2]] == ["ph_enrolment_once", "ph_worker_one"]
    assert "ENROLMENT" not in (far_folder(tmp_path) / "seen").read_text(encoding="utf-8")


def test_a_factory_without_a_key_says_how_to_get_one(server: SmallServer, start: Start) -> None:
    """With the exit code of its family, or of a usage error where that is not known yet."""
    server.keys = {"ph_worker_one"}

    factory = start("run")

    assert factory.wait(60) != 0
    assert server.dispatch.claims == []


def test_a_killed_factory_leaves_no_process(bench: Bench, server: SmallServer, start: Start, tmp_path: Path) -> None:
    """The job's leader dies with it, and the next start ends what else is left before it claims."""
    text = PLAIN + "if os.fork() == 0:\n    os.setsid()\n    mark('child')\n    rest()\nmark('up')\nrest()"
    server.dispatch.offer(bench.offer_for(text))
    factory = start("run")
    leader, child = far_pid(bench, tmp_path), far_pid(bench, tmp_path, "child")

    factory.kill()
    factory.wait(20)
    bench.until(lambda: not is_running(leader))
    beats = len(server.dispatch.beats)
    start("run")
    server.dispatch.until(lambda: len(server.dispatch.beats) > beats)

    assert not is_running(child)
    assert len({boot for _, boot, _ in server.dispatch.beats}) == 2


def test_a_session_that_was_given_up_is_followed_by_another_boot(
    bench: Bench, server: SmallServer, start: Start, tmp_path: Path
) -> None:
    """Its job is ended and not reported; the new boot works on."""
    server.dispatch.lease_seconds = 0.9
    server.dispatch.offer(bench.offer_for(PLAIN + "mark('up')\nrest()"))
    start("run")
    job = far_pid(bench, tmp_path)
    given_up = {boot for _, boot, _ in server.dispatch.beats}
    lost = LeaseLost("given up", fix="begin anew")
    first = threading.Event()

    def fails(verb: str) -> LeaseLost | None:
        if verb == "beat" and not first.is_set():
            first.set()
            return lost
        return None

    server.dispatch.fails = fails
    server.dispatch.until(lambda: {boot for _, boot, _ in server.dispatch.beats} > given_up)

    assert not is_running(job)
    assert server.dispatch.reports == {}


def test_a_revoked_key_ends_the_factory(bench: Bench, server: SmallServer, start: Start, tmp_path: Path) -> None:
    """Its jobs are ended at once; asking again would help nobody."""
    server.dispatch.lease_seconds = 0.9
    server.dispatch.offer(bench.offer_for(PLAIN + "mark('up')\nrest()"))
    factory = start("run")
    job = far_pid(bench, tmp_path)

    server.keys = set()

    assert factory.wait(60) != 0
    assert not is_running(job)
    assert server.dispatch.reports == {}


def test_one_folder_has_one_factory(bench: Bench, server: SmallServer, start: Start) -> None:
    """Two of one name would end each other's sessions for ever."""
    start("run")
    server.dispatch.until(lambda: server.dispatch.beats)

    second = start("run")

    assert second.wait(60) != 0
    assert second.stdout is not None
    assert "another factory works" in second.stdout.read()
    assert len({boot for _, boot, _ in server.dispatch.beats}) == 1
    assert bench.dispatch.beats == []
