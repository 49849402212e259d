"""What goes wrong is named by its class, the state stays whole, and the next start goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pilothouse.settings import environment
from tests.acceptance.cli import ROOT, Product, Said, ended, lines_with

RESTARTS = ("restarts = 1", "restarts = 0")


def with_fault(product: Product, fault: str, *, extra: str = "") -> Path:
    """Write the toy campaign with a training that goes wrong."""
    return product.file(("config = {}", f'config = {{ fault = "{fault}"{extra} }}'), RESTARTS)


@pytest.mark.parametrize(
    ("fault", "outcome", "advice"),
    [
        ("crash", "crashed", "log"),
        ("nan", "not_a_number", "learning rate"),
        ("hang", "silent", "silent_after"),
        ("deaf", "silent", "silent_after"),
        ("memory", "out_of_memory", "memory"),
        ("disk", "disk_full", "disk"),
        ("vanish", "summary_missing", "summary.json"),
        ("promise", "promise_broken", "promise"),
    ],
)
def test_each_failure_has_its_class_and_its_mend(product: Product, fault: str, outcome: str, advice: str) -> None:
    """The class stands in the error, on the run and in the logbook; after the mend the same campaign goes on."""
    failed = product.say("campaign", "run", str(with_fault(product, fault)), "--once")
    status = product.json("campaign", "status")
    run = product.json("run", "show", "latest")
    mended = product.say("campaign", "run", str(product.file()), "--once")

    assert failed.code == 1
    assert outcome in failed.err
    assert advice in lines_with(["mend:"], failed.err)[0]
    assert status["state"] == "failed"
    assert outcome in status["last_error"]
    assert [attempt["outcome"] for attempt in run["attempts"]] == [outcome]
    assert mended.code == 0, mended.err
    assert product.json("campaign", "status")["last_error"] is None
    assert outcome in product.say("logbook", "export").out
    assert product.json("logbook", "verify")["intact"]


def test_a_first_crash_is_restarted_from_its_checkpoint(product: Product) -> None:
    """One restart is allowed, and the second attempt resumes instead of beginning anew."""
    file = product.file(("config = {}", 'config = { fault = "crash", fault_step = 12, fault_attempts = 1 }'))

    said = product.say("campaign", "run", str(file), "--once")

    run = product.json("run", "show", "latest")
    lines = (Path(run["attempts"][1]["folder"]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert said.code == 0, said.err
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["crashed", "succeeded"]
    assert '"resumed_from": 10' in lines[0]


def test_a_step_that_failed_goes_on_from_its_checkpoint_when_a_person_starts_again(product: Product) -> None:
    """The new job of the same step resumes where the failed one had saved."""
    file = str(product.file(("config = {}", 'config = { fault = "crash afresh", fault_step = 12 }'), RESTARTS))
    failed = product.say("campaign", "run", file, "--once")

    said = product.say("campaign", "run", file, "--once")

    run = product.json("run", "show", "latest")
    lines = (Path(run["attempts"][0]["folder"]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert failed.code == 1
    assert said.code == 0, said.err
    assert '"resumed_from": 10' in lines[0]


def test_seats_that_no_factory_has_are_refused_at_once(product: Product) -> None:
    """Exit 3 instead of waiting for ever."""
    file = product.file(("config = {}", "config = {}\nrequires = { seats = 2 }"))

    said = product.say("campaign", "run", str(file), "--once")

    assert said.code == 3
    assert "seats" in said.err


def test_a_damaged_shard_is_named_made_again_and_never_trained_on(product: Product) -> None:
    """The next iteration meets it, makes it anew, and goes on with the same bytes."""
    file = str(product.file())
    product.say("campaign", "run", file, "--once")
    jobs = {job["kind"]: job["job"] for job in product.json("job", "list")}
    digest = product.json("job", "show", jobs["tokenise"])["artifacts"][0]["digest"]
    rows = product.home / "blobs" / digest[:2] / digest / "rows.json"
    good = rows.read_bytes()
    rows.chmod(0o644)
    rows.unlink()
    rows.write_bytes(good.replace(b"0.4", b"0.5", 1))

    said = product.say("campaign", "run", file, "--once")

    details = [product.json("job", "show", job["job"]) for job in product.json("job", "list")]
    met = [attempt for job in details for attempt in job["attempts"] if attempt["outcome"] == "input_damaged"]
    assert said.code == 0, said.err
    assert rows.read_bytes() == good
    assert len(met) == 1
    assert "rows.json" in met[0]["detail"]
    assert product.json("campaign", "status")["iterations"][1]["verdict"] is not None


def test_a_changed_golden_set_is_refused_and_restored_on_request(product: Product) -> None:
    """Exit 3; `--restore-golden` makes it again, and only the locked content is accepted."""
    file = str(product.file())
    product.say("campaign", "run", file, "--once")
    jobs = {job["kind"]: job["job"] for job in product.json("job", "list")}
    digest = product.json("job", "show", jobs["golden-tokenise"])["artifacts"][0]["digest"]
    rows = product.home / "blobs" / digest[:2] / digest / "rows.json"
    good = rows.read_bytes()
    rows.chmod(0o644)
    rows.unlink()
    rows.write_bytes(good + b" ")

    refused = product.say("campaign", "run", file, "--once")
    status = product.json("campaign", "status")
    still = product.say("campaign", "run", file, "--once")
    restored = product.say("campaign", "run", file, "--once", "--restore-golden")

    assert refused.code == still.code == 3
    assert "golden set 'held'" in refused.err
    assert "--restore-golden" in status["next_action"]
    assert restored.code == 0, restored.err
    assert rows.read_bytes() == good


def test_another_golden_set_under_the_same_name_is_refused(product: Product) -> None:
    """Comparing with another golden set would be dishonest, so it needs another name."""
    product.say("campaign", "run", str(product.file()), "--once")

    said = product.say("campaign", "run", str(product.file(('seeds = "100:110"', 'seeds = "100:111"'))), "--once")

    assert said.code == 3
    assert "another name" in said.err


def test_a_damaged_best_checkpoint_is_trained_again(product: Product) -> None:
    """The next iteration needs it; it comes out the same, bit for bit."""
    file = str(product.file())
    product.say("campaign", "run", file, "--once")
    best = Path(product.json("campaign", "status")["best_checkpoint"]) / "weight.json"
    good = best.read_bytes()
    best.chmod(0o644)
    best.unlink()

    said = product.say("campaign", "run", file, "--once")

    assert said.code == 0, said.err
    assert best.read_bytes() == good


def test_a_lost_manifest_is_a_damaged_artifact(product: Product) -> None:
    """A folder without its manifest is nothing that can be trusted."""
    file = str(product.file())
    product.say("campaign", "run", file, "--once")
    best = Path(product.json("campaign", "status")["best_checkpoint"]) / "manifest.json"
    best.unlink()

    said = product.say("campaign", "run", file, "--once")

    assert said.code == 0, said.err
    assert best.exists()


def run_limited(product: Product, file: Path, *, bytes_max: int) -> Said:
    """Run the campaign in a process that cannot write files larger than this, as on a disk that is full."""
    command = ["pilothouse", "--home", str(product.home), "campaign", "run", str(file), "--once"]
    limited = (
        "import resource, runpy, sys; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_max}, {bytes_max})); "
        f"sys.argv = {command!r}; runpy.run_module('pilothouse', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", limited],
        cwd=ROOT,
        # Python takes a compiled module that was cut short by the limit for a whole one, for ever after.
        env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return ended(process)


@pytest.mark.parametrize("bytes_max", [4_096, 150_000])
def test_a_full_disk_is_a_clear_error_and_the_next_start_goes_on(product: Product, bytes_max: int) -> None:
    """Nothing is lost, nothing is half written, and there is no traceback."""
    file = product.file()

    failed = run_limited(product, file, bytes_max=bytes_max)
    again = product.say("campaign", "run", str(file), "--once")

    assert failed.code == 1, failed
    assert "Traceback" not in failed.err
    assert "mend:" in failed.err
    assert again.code == 0, again.err
    assert product.json("logbook", "verify")["entries"] == 2


def test_a_home_that_cannot_be_made_is_a_clear_error(product: Product) -> None:
    """The path that is in the way is named."""
    product.home.write_text("a file, not a folder", encoding="utf-8")

    said = product.say("campaign", "run", str(product.file()))

    assert said.code == 1
    assert str(product.home) in said.err
    assert "Traceback" not in said.err
