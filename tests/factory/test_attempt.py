"""Every way an attempt can end has a class of its own, and none of its processes is left."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import pytest

from pilothouse.factory import heart
from pilothouse.fleet.job import Cost, JobSpec, Outcome
from pilothouse.ids import ArtifactDigest
from pilothouse.operations.curves import read_curve
from pilothouse.testing.factory_bench import SPEC, Bench, is_running
from pilothouse.trainer import tree
from tests.factory.programs import KIT, PLAIN, reported


def promising(*, metrics: tuple[str, ...] = (), artifacts: tuple[str, ...] = ()) -> JobSpec:
    """Return the bench's spec with promises."""
    return dataclasses.replace(SPEC, metrics=metrics, artifacts=artifacts)


def sealed(folder: Path, text: str = "x") -> ArtifactDigest:
    """Make a sealed folder of one file."""
    folder.mkdir(parents=True)
    (folder / "rows").write_text(text, encoding="utf-8")
    return ArtifactDigest(tree.seal(folder))


def test_success_brings_metrics_and_artifacts(bench: Bench) -> None:
    """The summary's numbers are reported and its folders are kept by content."""
    program = KIT + (
        "    run.log(1, total=2, loss=2.5)\n    run.log(2, total=2, loss=1.5)\n"
        "    run.finish({'train_loss': 1.5, 'note': 'text'}, artifacts={'checkpoint': run.checkpoint(2, save)})\n"
    )
    wanted = promising(metrics=("train_loss",), artifacts=("checkpoint",))

    report = reported(bench.run(bench.offer_for(program, spec=wanted)))

    assert (report.outcome, report.exit_code, report.metrics) == (Outcome.SUCCEEDED, 0, {"train_loss": 1.5})
    kept, curve = report.artifacts
    assert (kept.name, kept.size_bytes, kept.meta) == ("checkpoint", 1, {"step": 2})
    assert curve.name == "metrics"
    assert read_curve(bench.blobs.path(curve.digest), metric="loss") == {1: 2.5, 2: 1.5}
    assert (bench.blobs.path(kept.digest) / "weights").read_text(encoding="utf-8") == "w"
    assert report.peak_memory_mb is not None
    last = bench.dispatch.progress[-1]
    assert (last.step, last.total, last.values) == (2, 2, {"loss": 1.5})
    ((job, epoch, pid, _),) = bench.dispatch.starts
    assert (job, epoch) == ("job-1", 1)
    assert not is_running(pid)


def test_an_end_waits_for_no_later_sign_of_life(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program said last goes out with its end, however long signs of life wait for each other otherwise."""
    monkeypatch.setattr(heart, "PROGRESS_EVERY_SECONDS", 1000.0)
    program = KIT + "    run.log(1, total=1, loss=2.5)\n    run.finish({'train_loss': 1.5})\n"

    report = reported(bench.run(bench.offer_for(program)))

    assert report.outcome is Outcome.SUCCEEDED
    assert [progress.step for progress in bench.dispatch.progress] == [1]


def test_the_program_finds_its_order(bench: Bench, tmp_path: Path) -> None:
    """run.json and config.json say what the offer said, with the inputs as checked folders."""
    digest = sealed(tmp_path / "shard")
    bench.blobs.put(tmp_path / "shard")
    offer = bench.offer_for(PLAIN + "finish()", spec=dataclasses.replace(SPEC, inputs={"shards": (digest,)}))

    reported(bench.run(offer))

    order = json.loads((bench.folder() / "run.json").read_text(encoding="utf-8"))
    assert order == {
        "run": "job-1",
        "product": "p",
        "campaign": "c",
        "trial": 2,
        "seed": 11,
        "attempt": 1,
        "deadline_s": 7200.0,
        "resume": None,
        "inputs": {"shards": [str(bench.blobs.path(digest))]},
    }
    assert json.loads((bench.folder() / "config.json").read_text(encoding="utf-8")) == {"learning_rate": 0.5}


ENDINGS = {
    "crash": ("raise SystemExit(3)", Outcome.CRASHED, "exit code 3"),
    "exception": ("raise ValueError('odd shape')", Outcome.CRASHED, "odd shape"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", Outcome.CRASHED, "SIGKILL"),
    "memory error": ("raise MemoryError", Outcome.OUT_OF_MEMORY, "MemoryError"),
    "killer of memory": ("print('Out of memory: Killed process 7')\nsys.exit(137)", Outcome.OUT_OF_MEMORY, "SIGKILL"),
    "accelerator": ("sys.exit('RESOURCE_EXHAUSTED: 12.0G')", Outcome.OUT_OF_MEMORY, "RESOURCE_EXHAUSTED"),
    "full disk": ("raise OSError(28, 'No space left on device')", Outcome.DISK_FULL, "No space left"),
    "no summary": ("log(400)", Outcome.SUMMARY_MISSING, "no summary"),
    "torn summary": ("(run / 'summary.json').write_text('{\"metr')", Outcome.PROMISE_BROKEN, "summary.json"),
    "summary without metrics": ("(run / 'summary.json').write_text('[]')", Outcome.PROMISE_BROKEN, "metrics"),
    "metric missing": ("finish({'other': 1.0})", Outcome.PROMISE_BROKEN, "loss"),
    "metric is text": ("finish({'loss': 'low'})", Outcome.PROMISE_BROKEN, "loss"),
    "final metric not a number": ("finish({'loss': 'NaN'})", Outcome.PROMISE_BROKEN, "loss is nan"),
    "artifact missing": ("finish({'loss': 1}, {'checkpoint': 'checkpoints/none'})", Outcome.PROMISE_BROKEN, "none"),
    "artifact not named": ("finish({'loss': 1})", Outcome.PROMISE_BROKEN, "checkpoint is missing"),
    "artifact outside": ("finish({'loss': 1}, {'checkpoint': '../../../..'})", Outcome.PROMISE_BROKEN, "outside"),
    "artifact absolute": ("finish({'loss': 1}, {'checkpoint': '/etc'})", Outcome.PROMISE_BROKEN, "outside"),
    "artifact is the folder": ("finish({'loss': 1}, {'checkpoint': '.'})", Outcome.PROMISE_BROKEN, "outside"),
    "artifact through a link": (
        "(run / 'way').symlink_to('/etc')\nfinish({'loss': 1}, {'checkpoint': 'way'})",
        Outcome.PROMISE_BROKEN,
        "outside",
    ),
    "artifact not sealed": (
        "(run / 'c').mkdir()\nfinish({'loss': 1}, {'checkpoint': 'c'})",
        Outcome.PROMISE_BROKEN,
        "never completed",
    ),
    "summary of another kind": ("os.mkdir(run / 'summary.json')", Outcome.PROMISE_BROKEN, "summary.json"),
    "logged not a number": ("log(7, loss='NaN')\nfinish({'loss': 1})", Outcome.NOT_A_NUMBER, "loss at step 7"),
}


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_each_ending_has_its_class(ending: str, bench: Bench) -> None:
    """And the detail names what was seen."""
    text, outcome, named = ENDINGS[ending]
    promised = promising(metrics=("loss",), artifacts=("checkpoint",))

    report = reported(bench.run(bench.offer_for(PLAIN + text, spec=promised)))

    assert report.outcome is outcome
    assert named in report.detail
    assert report.artifacts == ()


def test_the_summary_of_another_trainer_is_read_too(bench: Bench) -> None:
    """Under the name that older programs write."""
    text = "(run / 'trainer_summary.json').write_text('{\"metrics\": {\"loss\": 2}}')"

    report = reported(bench.run(bench.offer_for(PLAIN + text, spec=promising(metrics=("loss",)))))

    assert (report.outcome, report.metrics) == (Outcome.SUCCEEDED, {"loss": 2.0})


def test_a_single_file_is_an_artifact_too(bench: Bench) -> None:
    """Such as the scores per example."""
    text = "(run / 'samples.parquet').write_bytes(b'PAR1')\nfinish({}, {'samples': 'samples.parquet'})"

    report = reported(bench.run(bench.offer_for(PLAIN + text)))

    (kept,) = report.artifacts
    assert kept.name == "samples"
    assert (bench.blobs.path(kept.digest) / "samples.parquet").read_bytes() == b"PAR1"


def test_not_a_number_ends_a_running_program(bench: Bench) -> None:
    """It need not run to its end for that."""
    report = reported(bench.run(bench.offer_for(PLAIN + "log(3, loss='NaN')\nrest()")))

    assert report.outcome is Outcome.NOT_A_NUMBER
    assert "loss at step 3" in report.detail
    assert report.exit_code == -signal.SIGTERM


def test_silence_ends_a_running_program(bench: Bench) -> None:
    """Neither a metric nor a line of log for the time that the spec allows."""
    report = reported(
        bench.run(bench.offer_for(PLAIN + "log(1)\nrest()", spec=dataclasses.replace(SPEC, silent_after_seconds=0.5)))
    )

    assert report.outcome is Outcome.SILENT
    assert "no sign of life" in report.detail


def test_the_timeout_ends_the_whole_tree(bench: Bench) -> None:
    """Also a grandchild in another session that ignores SIGTERM."""
    text = (
        "if os.fork() == 0:\n    os.setsid()\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    mark('child')\n"
        "    rest()\nwhile True:\n    print('busy')\n    threading.Event().wait(0.1)\n"
    )

    short = dataclasses.replace(SPEC, timeout_seconds=3.0, grace_seconds=0.2)

    report = reported(bench.run(bench.offer_for(PLAIN + text, spec=short)))

    assert report.outcome is Outcome.TIMED_OUT
    assert not is_running(bench.pid("child"))


def test_a_helper_left_behind_by_a_success_is_ended(bench: Bench) -> None:
    """The attempt is over only when nothing of it runs."""
    text = (
        "if os.fork() == 0:\n    os.setsid()\n    mark('child')\n    rest()\n"
        "while not (run / 'child').exists():\n    threading.Event().wait(0.01)\nfinish()"
    )

    report = reported(bench.run(bench.offer_for(PLAIN + text)))

    assert report.outcome is Outcome.SUCCEEDED
    assert not is_running(bench.pid("child"))


def test_a_preempted_program_saves_and_the_next_attempt_resumes(bench: Bench) -> None:
    """SIGTERM, checkpoint, 75; then the checkpoint and its step are in the next order."""
    program = KIT + (
        "    first = run.resume.step if run.resume else 0\n"
        "    if first:\n        run.log(first)\n        run.finish({'began_at': first})\n        sys.exit(0)\n"
        "    run.log(30, total=400)\n    mark('up')\n"
        "    while not run.stopping:\n        __import__('signal').pause()\n"
        "    run.checkpoint(40, save)\n    run.leave()\n"
    )

    def preempt() -> None:
        bench.pid("up")
        bench.stop.set()

    first = reported(bench.run(bench.offer_for(program), meanwhile=preempt))
    bench.stop.clear()
    second = reported(bench.run(bench.offer_for(program, epoch=2, earlier=[1])))

    assert (first.outcome, first.exit_code) == (Outcome.PREEMPTED, 75)
    assert (second.outcome, second.metrics) == (Outcome.SUCCEEDED, {"began_at": 40.0})
    order = json.loads((bench.folder(2) / "run.json").read_text(encoding="utf-8"))
    assert order["resume"] == {"checkpoint": str(bench.folder(1) / "checkpoints" / "step-000040"), "step": 40}


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(bench: Bench) -> None:
    """It is preempted all the same."""
    text = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmark('up')\nrest()"

    def preempt() -> None:
        bench.pid("up")
        bench.stop.set()

    short = dataclasses.replace(SPEC, grace_seconds=0.3)

    report = reported(bench.run(bench.offer_for(PLAIN + text, spec=short), meanwhile=preempt))

    assert (report.outcome, report.exit_code) == (Outcome.PREEMPTED, -signal.SIGKILL)


def test_a_job_offered_to_a_stopping_factory_is_given_back(bench: Bench) -> None:
    """Nothing is started."""
    bench.stop.set()

    report = reported(bench.run(bench.offer_for(PLAIN)))

    assert report.outcome is Outcome.PREEMPTED
    assert bench.dispatch.starts == []


def test_damaged_checkpoints_are_passed_over_and_named(bench: Bench) -> None:
    """The newest whole one counts, from whichever attempt; the log says which were skipped."""
    for epoch, step in ((1, 100), (1, 200), (2, 300), (2, 400)):
        sealed(bench.folder(epoch) / "checkpoints" / f"step-{step:06d}")
    (bench.folder(1) / "checkpoints" / "step-000200" / "rows").write_text("y", encoding="utf-8")
    (bench.folder(2) / "checkpoints" / "step-000300" / "manifest.json").unlink()
    (bench.folder(2) / "checkpoints" / "step-000400" / "rows").unlink()
    text = "log(order['resume']['step'], resumed_from=order['resume']['step'])\nfinish()"

    report = reported(bench.run(bench.offer_for(PLAIN + text, epoch=3, earlier=[2, 1])))

    assert report.outcome is Outcome.SUCCEEDED
    order = json.loads((bench.folder(3) / "run.json").read_text(encoding="utf-8"))
    assert order["resume"]["step"] == 100
    log = (bench.folder(3) / "log.txt").read_text(encoding="utf-8")
    assert all(f"step {step} skipped" in log for step in (200, 300, 400))


def test_a_run_that_begins_before_its_checkpoint_is_ended(bench: Bench) -> None:
    """It would do its work twice."""
    sealed(bench.folder(1) / "checkpoints" / "step-000100")

    report = reported(bench.run(bench.offer_for(PLAIN + "log(1)\nrest()", epoch=2, earlier=[1])))

    assert report.outcome is Outcome.RESUMED_TOO_EARLY


def test_a_damaged_input_is_named_and_nothing_is_started(bench: Bench, tmp_path: Path) -> None:
    """With its digest and its file."""
    digest = sealed(tmp_path / "shard")
    bench.blobs.put(tmp_path / "shard")
    victim = bench.blobs.path(digest) / "rows"
    victim.chmod(0o644)
    victim.write_text("z", encoding="utf-8")

    report = reported(bench.run(bench.offer_for(PLAIN, spec=dataclasses.replace(SPEC, inputs={"shards": (digest,)}))))

    assert report.outcome is Outcome.INPUT_DAMAGED
    assert report.damaged == digest
    assert digest in report.detail
    assert "rows" in report.detail
    assert bench.dispatch.starts == []


def test_a_command_that_is_not_there_is_named(bench: Bench) -> None:
    """With the mend."""
    report = reported(bench.run(bench.offer_for("", spec=dataclasses.replace(SPEC, command=("no-such-trainer",)))))

    assert report.outcome is Outcome.LAUNCH_FAILED
    assert "no-such-trainer" in report.detail


def test_a_run_folder_that_cannot_be_made_is_named(bench: Bench) -> None:
    """A file stands where the folder should be."""
    (bench.home / "runs").write_text("in the way", encoding="utf-8")

    report = reported(bench.run(bench.offer_for(PLAIN)))

    assert report.outcome is Outcome.LAUNCH_FAILED
    assert "runs" in report.detail


def test_a_disk_that_is_full_at_the_end_is_said_so(bench: Bench) -> None:
    """The run itself was good; the report says what to do."""
    (bench.home / "blobs").write_text("in the way", encoding="utf-8")
    text = "(run / 'samples.parquet').write_bytes(b'PAR1')\nfinish({}, {'samples': 'samples.parquet'})"

    report = reported(bench.run(bench.offer_for(PLAIN + text)))

    assert report.outcome is Outcome.DISK_FULL
    assert "blobs" in report.detail


def test_names_that_are_no_unicode_are_reported_as_such_that_are(bench: Bench) -> None:
    """JSON can spell half a character, and no database can keep one."""
    text = (
        "with (run / 'metrics.jsonl').open('a') as out:\n"
        '    out.write(\'{"step": 1, "\\\\ud800": 1.0}\\n\')\n'
        "(run / 'c').write_text('x')\n"
        "finish({'\\ud800': 1.0}, {'\\udc00': 'c'})"
    )

    report = reported(bench.run(bench.offer_for(PLAIN + text)))

    assert report.outcome is Outcome.SUCCEEDED, report.detail
    assert report.metrics == {"?": 1.0}
    assert bench.dispatch.progress[-1].values == {"?": 1.0}
    assert sorted(kept.name for kept in report.artifacts) == ["?", "metrics"]


def test_a_failure_brings_the_end_of_its_log_as_evidence(bench: Bench) -> None:
    """The detail is a sentence; what it was read from comes along."""
    report = reported(bench.run(bench.offer_for(PLAIN + "print('line one')\nraise SystemExit('line two')")))

    assert report.evidence == "line one\nline two"


def test_an_engine_that_is_gone_ends_the_attempt_with_a_short_grace(bench: Bench) -> None:
    """The program may save itself; nobody is told."""
    text = "signal.signal(signal.SIGTERM, lambda *_: (mark('saved'), os._exit(75)))\nmark('up')\nrest()"

    def vanish() -> None:
        bench.pid("up")
        bench.gone.set()

    report = bench.run(bench.offer_for(PLAIN + text), meanwhile=vanish)

    assert report is None
    assert bench.pid("saved") == bench.pid("up")
    assert not is_running(bench.pid("up"))


def test_a_log_without_end_is_kept_within_bounds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its older part moves aside, and the program writes on."""
    monkeypatch.setattr("pilothouse.factory.watch.LOG_BYTES_MAX", 1000)
    text = PLAIN + (
        "print('x' * 5000)\nwhile not (run / 'log.1.txt').exists():\n    threading.Event().wait(0.02)\n"
        "while (run / 'log.txt').stat().st_size:\n    threading.Event().wait(0.02)\nprint('after')\nfinish()"
    )

    report = reported(bench.run(bench.offer_for(text)))

    assert report.outcome is Outcome.SUCCEEDED
    assert (bench.folder() / "log.txt").read_text(encoding="utf-8") == "after\n"
    assert (bench.folder() / "log.1.txt").stat().st_size == 5001


def test_the_rest_of_an_earlier_try_at_the_same_epoch_is_cleared(bench: Bench) -> None:
    """A summary from then must not count now."""
    bench.folder().mkdir(parents=True)
    (bench.folder() / "summary.json").write_text('{"metrics": {"loss": 1}}', encoding="utf-8")

    report = reported(bench.run(bench.offer_for(PLAIN + "pass")))

    assert report.outcome is Outcome.SUMMARY_MISSING


def test_what_a_program_says_it_cost_is_reported(bench: Bench) -> None:
    """What it does not say, or says as something else, stays unknown, which is not zero."""
    text = (
        '(run / "summary.json").write_text(\'{"metrics": {}, "cost": {"usd": 0.25, "tokens": -3, "gpu_hours": "x"}}\')'
    )

    report = reported(bench.run(bench.offer_for(PLAIN + text)))

    assert report.cost == Cost(usd=0.25, gpu_hours=None, tokens=None)


def test_the_newest_complete_checkpoint_is_told(bench: Bench) -> None:
    """One without its manifest is not complete; an attempt that resumed has the one it resumed from."""
    for step in (100, 200):
        sealed(bench.folder(1) / "checkpoints" / f"step-{step:06d}")
    (bench.folder(1) / "checkpoints" / "step-000200" / "manifest.json").unlink()
    first = "log(order['resume']['step'])\n(run / 'checkpoints' / 'step-000400').mkdir(parents=True)\nfinish()"
    second = KIT + "    run.log(300)\n    run.checkpoint(300, save)\n    run.finish({})\n"

    bench.run(bench.offer_for(PLAIN + first, epoch=2, earlier=[1]))
    resumed = bench.dispatch.progress[-1].checkpoint_step
    bench.run(bench.offer_for(second, epoch=3))

    assert resumed == 100
    assert bench.dispatch.progress[-1].checkpoint_step == 300


def test_a_run_whose_checkpoints_are_elsewhere_starts_afresh_and_says_so(bench: Bench) -> None:
    """Its earlier attempts ran on another machine."""
    report = reported(bench.run(bench.offer_for(PLAIN + "finish()", epoch=2, earlier=[1])))

    assert report.outcome is Outcome.SUCCEEDED
    assert "starting afresh" in (bench.folder(2) / "log.txt").read_text(encoding="utf-8")
