"""What the reading commands show of what is stored, whatever a program has put there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pilothouse.canonical import Json
from pilothouse.cli import main as command_line
from pilothouse.engine.ownership import own_engine
from pilothouse.fleet.claim import Grant, attempt_folder
from pilothouse.fleet.job import Outcome, Placed
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, FactoryName, JobId, ProductId
from pilothouse.logbook.chain import link
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import CAMPAIGN, PRODUCT

Say = Callable[..., tuple[int, str, str]]
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"
FOLDER = attempt_folder(values.make_new_job(1).id, 1)


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(name="store")
def _store(home: Path) -> Iterator[SqliteStore]:
    """Give the store of the home, with a campaign."""
    with closing(SqliteStore(home / "pilothouse.db")) as store:
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
        yield store


@pytest.fixture(name="say")
def _say(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Return a way to speak to the command line in this process."""

    def speak(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pilothouse", "--home", str(home), *words])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return speak


def assigned(tx: Transaction) -> str:
    """Store a job that a factory holds, and return its id."""
    (job,) = tx.jobs.insert([Placed(new=values.make_new_job(1), stage=Stage.QUEUED)], now=BEGIN)
    session = tx.factories.open_session(PRODUCT, FactoryName("f"), BootId("b"), now=BEGIN, expires=BEGIN)
    assert not tx.jobs.assign([Grant(job.number, job.epoch, session)], now=BEGIN)
    tx.campaigns.add_run(values.make_run(1, job.id))
    return job.id


def failed(store: SqliteStore, *, metrics: dict[str, float] | None = None, detail: str = "") -> str:
    """Store a run whose attempt has failed with these last words and an incident, and return its job."""
    with store.write() as tx:
        job = JobId(assigned(tx))
        report = values.make_report(Outcome.CRASHED, metrics=metrics, detail=detail)
        held = tx.jobs.by_id(job)
        assert held is not None
        assert tx.jobs.finish(held, stage=Stage.FAILED, report=report, now=BEGIN) is not None
        tx.campaigns.add_incident(values.make_incident(job))
    return job


def log(home: Path, name: str, text: str) -> Path:
    """Leave a file in the attempt's folder."""
    path = home / FOLDER / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_with_numbers_that_json_does_not_know_is_shown(store: SqliteStore, say: Say) -> None:
    """As the texts that JSON readers agree on."""
    failed(store, metrics={"loss": float("nan"), "worst": float("inf")})

    code, out, _ = say("run", "show", "latest", "--json")

    assert code == 0
    assert json.loads(out)["attempts"][0]["metrics"] == {"loss": "NaN", "worst": "Infinity"}


def test_a_job_shows_its_incidents(store: SqliteStore, say: Say) -> None:
    """The diagnosis, its evidence and the response."""
    job = failed(store)

    _, out, _ = say("job", "show", job, "--json")
    _, text, _ = say("job", "show", job)

    (incident,) = json.loads(out)["incidents"]
    assert incident == {
        "epoch": 1,
        "at": BEGIN.isoformat(),
        "diagnosis": "silent",
        "evidence": "no line for 600 s",
        "response": "restart",
    }
    assert "no line for 600 s" in text


@pytest.mark.parametrize(
    "words",
    [
        ("run", "show", "latest"),
        ("run", "show", "latest", "--json"),
        ("run", "logs", "latest"),
        ("run", "logs", "latest", "--json"),
        ("run", "watch", "latest"),
        ("campaign", "status"),
        ("campaign", "list"),
        ("logbook", "show"),
        ("logbook", "export"),
        ("run", "list"),
    ],
)
def test_no_command_obeys_what_a_program_wrote(
    store: SqliteStore, say: Say, home: Path, words: tuple[str, ...]
) -> None:
    """Escapes are shown as something else, wherever they come out."""
    failed(store, detail=f"crashed: {ESCAPE}")
    log(home, "log.txt", f"log {ESCAPE}\n")
    (home / FOLDER / "metrics.jsonl").write_text(f'{{"step": 1, "note": "{ESCAPE}"}}\n', encoding="utf-8")
    definition: dict[str, Json] = {
        "campaign": {"name": CAMPAIGN, "kind": "flywheel", "goal": ESCAPE},
        "metrics": {"gap": {"direction": "min", "primary": True}},
        "change_budget": {"max": 1},
        "decision": {"alpha": 0.05},
    }
    campaign = replace(values.make_campaign(), definition=definition, last_error=ESCAPE, next_action=ESCAPE)
    body = replace(values.make_entry().body, result=ESCAPE, label=ESCAPE)
    with store.write() as tx:
        tx.campaigns.put(campaign)
        tx.campaigns.halt(PRODUCT, CAMPAIGN, halt=None, last_error=ESCAPE, next_action=ESCAPE)
        tx.entries.append(link(None, product=PRODUCT, thread=CAMPAIGN, body=body, now=BEGIN))

    code, out, err = say(*words)

    assert code == 0, err
    assert out
    assert all(letter.isprintable() or letter in "\n\t" for letter in out + err)


@pytest.mark.usefixtures("store")
def test_an_error_line_obeys_nothing(say: Say) -> None:
    """Its words may come from a file or from the person."""
    code, _, err = say("campaign", "status", ESCAPE)

    assert code == 5
    assert all(letter.isprintable() or letter in "\n\t" for letter in err)


def test_logs_come_as_json_too(store: SqliteStore, say: Say, home: Path) -> None:
    """With the file that they stand in."""
    job = failed(store)
    path = log(home, "log.txt", "one\ntwo\n")

    _, of_run, _ = say("run", "logs", "latest", "--json")
    _, of_job, _ = say("job", "logs", job, "--json")

    assert json.loads(of_run) == json.loads(of_job) == {"job": job, "path": str(path), "text": "one\ntwo\n"}


def test_watching_a_job_that_nobody_runs_says_so_and_leaves(store: SqliteStore, say: Say) -> None:
    """The engine is gone, and waiting would not end."""
    with store.write() as tx:
        job = assigned(tx)

    code, _, err = say("run", "watch", "latest")

    assert code == 8
    assert job in err
    assert "campaign run" in err


def test_watching_an_ended_job_needs_no_engine(store: SqliteStore, say: Say) -> None:
    """It tells how it ended."""
    failed(store, detail="exit code 3")

    code, out, _ = say("run", "watch", "latest")

    assert code == 0
    assert "exit code 3" in out


def test_two_products_in_one_home_ask_for_a_name_only_where_one_is_needed(
    store: SqliteStore, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor needs none."""
    with store.write() as tx:
        tx.campaigns.put(values.make_campaign(product=ProductId("other")))

    code, out, _ = say("doctor", "--json")
    database = next(row for row in json.loads(out)["checks"] if row["check"] == "database")
    assert database["level"] == "ok"

    code, _, err = say("run", "list")
    assert code == 2
    assert "PILOTHOUSE_PRODUCT" in err

    monkeypatch.setenv("PILOTHOUSE_PRODUCT", "other")
    assert say("run", "list")[0] == 0


def test_the_status_tells_since_when_its_owner_lives(store: SqliteStore, say: Say, home: Path) -> None:
    """A pid alone is no name."""
    definition: dict[str, Json] = {
        "campaign": {"name": CAMPAIGN, "kind": "flywheel"},
        "metrics": {"gap": {"direction": "min", "primary": True}},
    }
    with own_engine(home, boot="b") as owner:
        with store.write() as tx:
            tx.campaigns.put(replace(values.make_campaign(), definition=definition))
            tx.campaigns.own(PRODUCT, CAMPAIGN, owner=owner)
        _, out, _ = say("campaign", "status")

    line = next(line for line in out.splitlines() if line.startswith("owner"))
    assert str(owner.pid) in line
    assert "started 20" in line
