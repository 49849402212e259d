"""What a job starts besides its own command: a folder of its own, an engine with a task, a check of its work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pilothouse.fleet.capability import Offer
from pilothouse.fleet.job import JobSpec, Outcome
from pilothouse.ids import Epoch, JobId
from pilothouse.ports.dispatch import Command, Word
from pilothouse.testing.factory_bench import SPEC, Bench, is_running
from tests.factory.programs import PLAIN, reported

TASK = dataclasses.replace(SPEC, campaign="", engine="scribe", body="Write ünïcode.\nThen stop.\n")
OK = PLAIN + "finish()"


def engine(bench: Bench, text: str, *words: str) -> None:
    """Give the bench an engine named scribe that runs this Python text with these further words."""
    script = bench.home / "engine.py"
    script.write_text(text, encoding="utf-8")
    bench.engines["scribe"] = ("python", str(script), *words)


def verifying(text: str, bench: Bench, *, base: JobSpec = SPEC) -> JobSpec:
    """Return the spec with a check that runs this Python text."""
    script = bench.home / "verify.py"
    script.write_text(text, encoding="utf-8")
    return dataclasses.replace(base, verify=("python", str(script)))


# --- the folder


def test_a_command_starts_in_the_jobs_own_folder(bench: Bench) -> None:
    """It is relative to the factory's work folder."""
    (bench.home / "project" / "sub").mkdir(parents=True)
    text = PLAIN + "(run / 'where').write_text(os.getcwd())\nfinish()"

    report = reported(bench.run(bench.offer_for(text, spec=dataclasses.replace(SPEC, cwd="project/sub"))))

    assert report.outcome is Outcome.SUCCEEDED
    assert Path((bench.folder() / "where").read_text(encoding="utf-8")) == bench.home / "project" / "sub"


@pytest.mark.parametrize(
    ("cwd", "named"),
    [
        ("..", "leaves"),
        ("project/../..", "leaves"),
        ("project/../project", "leaves"),
        ("/etc", "leaves"),
        ("way", "leaves"),
        ("none", "no folder"),
        ("file", "no folder"),
        ("a\0b", "cannot be used"),
        ("loop", "loop"),
    ],
)
def test_a_folder_that_leaves_the_work_folder_is_refused(cwd: str, named: str, bench: Bench) -> None:
    """By its name or by a link; nothing is started."""
    (bench.home / "project").mkdir()
    (bench.home / "file").touch()
    (bench.home / "way").symlink_to("/etc")
    (bench.home / "loop").symlink_to("loop")

    report = reported(bench.run(bench.offer_for(OK, spec=dataclasses.replace(SPEC, cwd=cwd))))

    assert report.outcome is Outcome.LAUNCH_FAILED
    assert named in report.detail
    assert bench.dispatch.starts == []


# --- engines


def test_an_engine_is_given_its_task_as_a_file(bench: Bench) -> None:
    """Where its command has a place for the path; it need not know of run folders."""
    engine(bench, PLAIN + "(run / 'read').write_bytes(Path(sys.argv[2]).read_bytes())", "--from", "{task}")

    report = reported(bench.run(bench.offer_for("", spec=TASK)))

    assert report.outcome is Outcome.SUCCEEDED
    assert (bench.folder() / "read").read_text(encoding="utf-8") == TASK.body
    assert (bench.folder() / "task.md").read_text(encoding="utf-8") == TASK.body


def test_an_engine_without_a_place_for_a_path_reads_its_task_from_standard_input(bench: Bench) -> None:
    """As many do."""
    engine(bench, PLAIN + "(run / 'read').write_bytes(sys.stdin.buffer.read())")

    reported(bench.run(bench.offer_for("", spec=TASK)))

    assert (bench.folder() / "read").read_text(encoding="utf-8") == TASK.body


def test_an_engine_that_fails_fails_the_job(bench: Bench) -> None:
    """Its exit code is the last word."""
    engine(bench, "raise SystemExit('cannot')")

    report = reported(bench.run(bench.offer_for("", spec=TASK)))

    assert (report.outcome, report.exit_code) == (Outcome.CRASHED, 1)


def test_an_engine_keeps_the_promises_of_its_job(bench: Bench) -> None:
    """What the job promised has to be in a summary."""
    engine(bench, PLAIN + "pass")

    report = reported(bench.run(bench.offer_for("", spec=dataclasses.replace(TASK, metrics=("score",)))))

    assert report.outcome is Outcome.SUMMARY_MISSING


def test_a_plain_command_without_promises_needs_no_summary(bench: Bench) -> None:
    """Unless it is a campaign's own program."""
    report = reported(bench.run(bench.offer_for("pass", spec=dataclasses.replace(SPEC, campaign=""))))

    assert report.outcome is Outcome.SUCCEEDED


def test_a_plain_command_that_ends_well_when_it_is_stopped_has_not_finished(bench: Bench) -> None:
    """Without a summary nothing tells a job that is done from one that obeyed."""
    bench.dispatch.lease_seconds = 0.6
    text = PLAIN + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nmark('up')\nrest()"

    def order() -> None:
        bench.pid("up")
        bench.dispatch.order(Command(job=JobId("job-1"), epoch=Epoch(1), word=Word.STOP, seconds=20))

    report = reported(bench.run(bench.offer_for(text, spec=dataclasses.replace(SPEC, campaign="")), meanwhile=order))

    assert (report.outcome, report.exit_code) == (Outcome.PREEMPTED, 0)


@pytest.mark.parametrize("words", [None, ("no-such-engine", "-p")])
def test_an_engine_that_is_not_here_is_named(words: tuple[str, ...] | None, bench: Bench) -> None:
    """Whether its name or its program is not known; nothing is started."""
    if words is not None:
        bench.engines["scribe"] = words

    report = reported(bench.run(bench.offer_for("", spec=TASK)))

    assert report.outcome is Outcome.NO_ENGINE
    assert ("scribe" if words is None else "no-such-engine") in report.detail
    assert bench.dispatch.starts == []


# --- capabilities


def test_a_requirement_that_the_machine_does_not_meet_is_named(bench: Bench) -> None:
    """The engine would not have sent it here; a machine may have changed since it told what it has."""
    bench.abilities = Offer.read(["os:linux", "cores:2"])
    spec = dataclasses.replace(SPEC, requires=("os:any", "cores>=8", "gpu:h200"))

    report = reported(bench.run(bench.offer_for(OK, spec=spec)))

    assert report.outcome is Outcome.CAPABILITY_MISMATCH
    assert "cores>=8" in report.detail
    assert "gpu:h200" in report.detail
    assert "os:any" not in report.detail
    assert bench.dispatch.starts == []


def test_requirements_that_are_met_let_the_job_start(bench: Bench) -> None:
    """Also where nobody knows what the machine has."""
    spec = dataclasses.replace(SPEC, requires=("cores>=2",))
    unknown = reported(bench.run(bench.offer_for(OK, spec=spec)))
    bench.abilities = Offer.read(["cores:2"])

    assert unknown.outcome is Outcome.SUCCEEDED
    assert reported(bench.run(bench.offer_for(OK, epoch=2, spec=spec))).outcome is Outcome.SUCCEEDED


# --- verification


def test_a_success_is_verified_in_the_same_folders(bench: Bench) -> None:
    """The check sees what the job left; its words go to the same log."""
    text = PLAIN + "print('checked', (run / 'left').read_text(), os.getcwd())"
    job = PLAIN + "(run / 'left').write_text('work')\nfinish({'loss': 1.5})"

    report = reported(bench.run(bench.offer_for(job, spec=verifying(text, bench))))

    assert (report.outcome, report.metrics) == (Outcome.SUCCEEDED, {"loss": 1.5})
    assert f"checked work {bench.home}" in (bench.folder() / "log.txt").read_text(encoding="utf-8")


def test_a_check_that_fails_fails_the_job(bench: Bench) -> None:
    """With what it said; nothing is published."""
    job = PLAIN + "(run / 'out').write_text('x')\nfinish({'loss': 1.5}, {'out': 'out'})"

    report = reported(bench.run(bench.offer_for(job, spec=verifying("raise SystemExit('2 tests failed')", bench))))

    assert (report.outcome, report.artifacts) == (Outcome.VERIFY_FAILED, ())
    assert "exit code 1" in report.detail
    assert report.evidence.splitlines()[-1] == "2 tests failed"


def test_a_failure_is_not_verified(bench: Bench) -> None:
    """There is nothing to check."""
    spec = verifying(PLAIN + "mark('checked')", bench)

    assert reported(bench.run(bench.offer_for("raise SystemExit(2)", spec=spec))).outcome is Outcome.CRASHED
    assert not (bench.folder() / "checked").exists()


def test_a_check_has_the_time_that_is_left(bench: Bench) -> None:
    """And is ended with all that it has started."""
    short = dataclasses.replace(SPEC, timeout_seconds=1.5, grace_seconds=0.2)
    spec = verifying(PLAIN + "mark('checking')\nrest()", bench, base=short)

    report = reported(bench.run(bench.offer_for(OK, spec=spec)))

    assert report.outcome is Outcome.VERIFY_FAILED
    assert "left" in report.detail
    assert not is_running(bench.pid("checking"))


def test_a_check_that_cannot_start_fails_the_job(bench: Bench) -> None:
    """With the reason."""
    report = reported(bench.run(bench.offer_for(OK, spec=dataclasses.replace(SPEC, verify=("no-such-check",)))))

    assert report.outcome is Outcome.VERIFY_FAILED
    assert "no-such-check" in report.detail


def test_a_job_that_is_stopped_while_it_is_checked_is_preempted(bench: Bench) -> None:
    """Its work is not refuted, only not confirmed."""
    bench.dispatch.lease_seconds = 0.6
    spec = verifying(PLAIN + "mark('checking')\nrest()", bench)

    def order() -> None:
        bench.pid("checking")
        bench.dispatch.order(Command(job=JobId("job-1"), epoch=Epoch(1), word=Word.STOP, seconds=20))

    report = reported(bench.run(bench.offer_for(OK, spec=spec), meanwhile=order))

    assert report.outcome is Outcome.PREEMPTED
    assert "verification" in report.detail
