"""The schema's own rules, which hold against any client, and the migrations that make it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pilothouse.errors import PilothouseError, StorageFailed
from pilothouse.fleet.stages import ENDS, LEASED, TRANSITIONS, Stage, may_move
from pilothouse.store.named_sql import parse_queries, read_queries
from pilothouse.store.sqlite import campaigns, entries, jobs, proposals
from pilothouse.store.sqlite.connection import MEMORY, Connection, Parameters
from pilothouse.store.sqlite.migrate import Migration, migrate, migrations, split
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values

AGGREGATES = {"jobs": jobs, "campaigns": campaigns, "proposals": proposals, "entries": entries}


@pytest.fixture(name="raw")
def _raw() -> Iterator[Connection]:
    """Yield a migrated database with nothing of ours between the test and its tables."""
    connection = Connection(MEMORY)
    migrate(connection, steps=migrations())
    yield connection
    connection.close()


def insert_job(raw: Connection, *, stage: Stage, name: str) -> None:
    """Put a job into any stage, past the trigger that guards its birth."""
    raw.run(
        "INSERT INTO jobs (id, product, pool, key, stage, epoch, priority, seats, created_at, changed_at,"
        " factory, boot, lease_expires_at)"
        " VALUES (:name, 'p', 'pool', :name, :stage, 5, 'low', 1, 1, 1, :factory, :boot, :lease)",
        {"name": name, "stage": stage.value, **holder(stage)},
    )


def holder(stage: Stage) -> Parameters:
    """Return the columns of a holder, filled exactly where the stage has one."""
    return (
        {"factory": "f", "boot": "b", "lease": 1} if stage in LEASED else {"factory": None, "boot": None, "lease": None}
    )


def schema(connection: Connection) -> Sequence[tuple[str, str]]:
    """Return every table, index and trigger with its text."""
    found = connection.rows("SELECT name, coalesce(sql, '') AS sql FROM sqlite_master ORDER BY name")
    return [(row["name"], row["sql"]) for row in found]


def test_the_tables_move_a_job_exactly_as_the_stage_table_says(raw: Connection) -> None:
    """All hundred pairs, each with a growing epoch and a holder where one belongs."""
    raw.run("DROP TRIGGER jobs_begin")
    moved = set()
    for before in Stage:
        for after in Stage:
            name = f"{before.value}-{after.value}"
            insert_job(raw, stage=before, name=name)
            try:
                raw.run(
                    "UPDATE jobs SET stage = :stage, epoch = 6, factory = :factory, boot = :boot,"
                    " lease_expires_at = :lease WHERE id = :name",
                    {"name": name, "stage": after.value, **holder(after)},
                )
            except PilothouseError:
                continue
            moved.add((before, after))

    # Staying where it is moves nothing, and only a job that has ended may not even be touched.
    still = {(stage, stage) for stage in Stage if stage not in ENDS}
    assert moved - still == {(before, after) for before in Stage for after in Stage if may_move(before, after)}
    assert still <= moved


def test_every_stage_has_its_row_in_the_table() -> None:
    """The table is total and never leads from a stage to itself."""
    assert set(TRANSITIONS) == set(Stage)
    assert all(stage not in after for stage, after in TRANSITIONS.items())
    assert {stage for stage, after in TRANSITIONS.items() if not after} == ENDS


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET epoch = 4",
        "UPDATE jobs SET stage = 'assigned', factory = 'f', boot = 'b', lease_expires_at = 1",
        "UPDATE jobs SET stage = 'cancelled'",
        "UPDATE jobs SET stage = 'failed', factory = 'f', boot = 'b', lease_expires_at = 1",
        "UPDATE jobs SET stage = 'assigned', epoch = 6",
        "UPDATE jobs SET stage = 'running'",
        "UPDATE jobs SET key = 'other'",
        "UPDATE jobs SET product = 'other'",
        "UPDATE jobs SET failures = -1",
        "UPDATE jobs SET priority = 'urgent'",
        "UPDATE jobs SET seats = 'one'",
        "UPDATE job_events SET stage = 'shipped'",
        "DELETE FROM job_events",
        "INSERT INTO job_events (job, sequence, product, at, epoch, stage) VALUES ('nobody', 1, 'p', 1, 0, 'queued')",
        "DELETE FROM jobs",
    ],
)
def test_the_tables_refuse(raw: Connection, statement: str) -> None:
    """Whoever asks: a falling epoch, an unfenced claim, a holder without a lease, a rewritten history."""
    raw.run("DROP TRIGGER jobs_begin")
    insert_job(raw, stage=Stage.QUEUED, name="a")

    with pytest.raises(PilothouseError):
        raw.run(statement)


def test_an_ended_attempt_and_a_spec_never_change(raw: Connection) -> None:
    """A late report cannot rewrite how an attempt ended."""
    raw.run("DROP TRIGGER jobs_begin")
    insert_job(raw, stage=Stage.QUEUED, name="a")
    raw.run("INSERT INTO job_specs (job, product, campaign, digest, spec) VALUES ('a', 'p', 'c', 'd', '{}')")
    raw.run(
        "INSERT INTO job_attempts (job, epoch, product, factory, boot, folder, claimed_at, ended_at, outcome)"
        " VALUES ('a', 1, 'p', 'f', 'b', 'x', 1, 2, 'lost')"
    )
    for statement in ("UPDATE job_attempts SET outcome = 'succeeded'", "UPDATE job_specs SET spec = '{\"a\": 1}'"):
        with pytest.raises(PilothouseError, match="never changes"):
            raw.run(statement)


@pytest.mark.parametrize("table", ["entries", "promotions", "approvals"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET product = 'q'", "DELETE FROM {}", "REPLACE INTO {0} SELECT * FROM {0}"]
)
def test_the_record_is_append_only(table: str, change: str, tmp_path: Path) -> None:
    """Entries, promotions and approvals cannot be changed, deleted or replaced, by any client."""
    path = tmp_path / "pilothouse.db"
    store = SqliteStore(path)
    with store.write() as tx:
        tx.campaigns.put(values.make_campaign())
        tx.entries.append(values.make_entry())
        tx.campaigns.add_promotion(values.make_promotion(0))
        tx.proposals.approve(values.make_approval())
    store.close()
    raw = Connection(path)
    everything = "SELECT * FROM " + table  # noqa: S608  the name comes from the list above
    before = [tuple(row) for row in raw.rows(everything)]

    with pytest.raises(PilothouseError):
        raw.run(change.format(table))

    assert [tuple(row) for row in raw.rows(everything)] == before
    assert len(before) == 1
    raw.close()


def test_a_golden_set_cannot_be_unlocked(raw: Connection) -> None:
    """Neither its digest nor a look can be taken back."""
    raw.run("INSERT INTO campaigns VALUES ('p', 'c', 'k', '{}', 'd', '{}', 1, NULL, NULL, NULL, NULL, NULL, '', '')")
    raw.run("INSERT INTO golden_sets VALUES ('p', 'c', 'g', 'digest', 3)")
    for change in ("UPDATE golden_sets SET digest = 'other'", "UPDATE golden_sets SET looks = 2"):
        with pytest.raises(PilothouseError, match="golden set"):
            raw.run(change)


def test_every_table_carries_the_product(raw: Connection) -> None:
    """But the schema's own version row."""
    without = raw.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        " AND NOT EXISTS (SELECT 1 FROM pragma_table_info(sqlite_master.name) AS info WHERE info.name = 'product')"
    )

    assert [row["name"] for row in without] == ["schema_version"]


def test_every_table_is_strict(raw: Connection) -> None:
    """So a column holds what it says."""
    loose = raw.rows(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND strict = 0 AND name NOT LIKE 'sqlite_%'"
    )

    assert [row["name"] for row in loose] == []


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("assign_job", {"sqlite_autoindex_jobs_1"}),
        ("renew_lease", {"sqlite_autoindex_jobs_1"}),
        ("finish_job", {"sqlite_autoindex_jobs_1"}),
        ("job_by_key", {"sqlite_autoindex_jobs_2"}),
        ("jobs_with_prefix", {"sqlite_autoindex_jobs_2"}),
        ("newest_jobs", {"jobs_of_product"}),
        ("newest_jobs_of_campaign", {"job_specs_of_campaign", "sqlite_autoindex_jobs_1"}),
        ("intact_artifact", {"job_artifacts_by_digest", "sqlite_autoindex_jobs_1"}),
    ],
)
def test_hot_queries_go_by_their_index(raw: Connection, query: str, indexes: set[str]) -> None:
    """A claim, a renewal and a completion find their row by its id; nothing hot scans a table."""
    sql = read_queries(jobs.__package__, "sql/jobs.sql")[query]
    names = set(re.findall(r":([a-z_]+)", sql))
    plan = [row["detail"] for row in raw.rows(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names, 1))]

    assert not [step for step in plan if step.startswith("SCAN")]
    assert {found for step in plan for found in re.findall(r"INDEX (\w+)", step)} == indexes


@pytest.mark.parametrize("aggregate", sorted(AGGREGATES))
def test_every_query_is_used_and_every_used_one_exists(aggregate: str) -> None:
    """The file of queries and the module beside it hold the same names."""
    module = AGGREGATES[aggregate]
    assert module.__file__ is not None
    used = re.findall(r'_SQL\["([a-z_]+)"\]', Path(module.__file__).read_text(encoding="utf-8"))

    assert sorted(set(used)) == sorted(read_queries(module.__package__ or "", f"sql/{aggregate}.sql"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;", "without a name"),
        ("-- name: a\nSELECT 1;", "sentence"),
        ("-- name: a\n-- Asks.\n", "one statement"),
        ("-- name: a\n-- Asks.\nSELECT 1; SELECT 2;", "one statement"),
        ("-- name: a\n-- Asks.\nSELECT 1;\n-- name: a\n-- Asks.\nSELECT 1;", "taken"),
    ],
)
def test_a_badly_named_query_is_told_with_its_line(text: str, complaint: str) -> None:
    """The file and line stand in the message."""
    with pytest.raises(ValueError, match=rf"^f\.sql:\d+: .*{complaint}"):
        parse_queries(text, source="f.sql")


def test_migrating_step_by_step_ends_at_the_same_schema(raw: Connection) -> None:
    """A database of any earlier version becomes what a new one is, and migrating again changes nothing."""
    every = migrations()
    grown = Connection(MEMORY)
    for count in range(1, len(every) + 1):
        migrate(grown, steps=every[:count])
    migrate(grown, steps=every)

    assert schema(grown) == schema(raw)
    versions = grown.rows("SELECT version, name FROM schema_version ORDER BY version")
    assert [(row["version"], row["name"]) for row in versions] == [(each.version, each.name) for each in every]
    grown.close()


def test_a_failed_migration_leaves_the_old_version(raw: Connection) -> None:
    """All of its statements, or none."""
    before = schema(raw)
    broken = Migration(version=5, name="broken", statements=("CREATE TABLE half (x)", "CREATE NONSENSE"))

    with pytest.raises(StorageFailed):
        migrate(raw, steps=[*migrations(), broken])

    assert schema(raw) == before


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older program never touches what it does not know."""
    path = tmp_path / "pilothouse.db"
    SqliteStore(path).close()
    raw = sqlite3.connect(path)
    with raw:
        raw.execute("INSERT INTO schema_version VALUES (99, 'future', 1)")
    raw.close()

    with pytest.raises(StorageFailed, match="schema version 99, and this pilothouse knows") as caught:
        SqliteStore(path)

    assert "newer pilothouse" in caught.value.fix


def test_a_script_is_split_at_its_statements() -> None:
    """A trigger's inner semicolons do not end it."""
    script = "CREATE TABLE a (x);\n-- a remark; with one\nCREATE TRIGGER t AFTER INSERT ON a\nBEGIN\n SELECT 1;\nEND;\n"

    assert [statement.split()[-1] for statement in split(script)] == ["(x);", "END;"]
