"""The schema's own rules, which hold against any client of either database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from pilothouse.errors import Conflict, PilothouseError
from pilothouse.fleet.stages import ENDS, LEASED, TRANSITIONS, Stage, may_move
from pilothouse.store.connection import Connection
from pilothouse.store.migrations import migrate, migrations
from pilothouse.store.postgres.address import Address
from pilothouse.store.postgres.connection import PostgresConnection
from pilothouse.store.rows import STAGE_NUMBERS
from pilothouse.store.sqlite.connection import MEMORY, SqliteConnection
from pilothouse.store.sqlite.migrate import SqliteSchema
from pilothouse.testing.postgres_server import PostgresServer

OF_A_JOB = {"jobs", "job_edges", "job_attempts", "job_events", "job_reviews"}
"""Tables whose rows hang on a job by its number, and so on the product of the job."""
OF_A_CHANNEL = {"channel_holds", "channel_writes", "hook_deliveries"}
"""A forge counts what an account writes, for whatever product."""
NEW_JOB = "INSERT INTO jobs (number, shape, stage, epoch, priority, sequence, created_at, changed_at)"
OF_THE_GATE = ["agent_runs", "agent_incidents", "waivers", "admissions"]
APPEND_ONLY = ["entries", "promotions", "approvals", "job_events", "ledger", *OF_THE_GATE]


@pytest.fixture(name="sqlite_once", scope="module")
def _sqlite_once() -> Iterator[SqliteConnection]:
    connection = SqliteConnection(MEMORY)
    migrate(SqliteSchema(connection), steps=migrations("sqlite"))
    yield connection
    connection.close()


@pytest.fixture(name="postgres_once", scope="module")
def _postgres_once(postgres: PostgresServer, migrated: str) -> Iterator[PostgresConnection]:
    with postgres.database(like=migrated) as dsn:
        connection = PostgresConnection(Address(dsn))
        yield connection
        connection.close()


@pytest.fixture(name="sqlite")
def _sqlite(sqlite_once: SqliteConnection) -> Iterator[SqliteConnection]:
    """Yield a migrated SQLite with nothing of ours between the test and its tables; what the test does is undone."""
    with undone(sqlite_once):
        yield sqlite_once


@pytest.fixture(name="pg")
def _pg(postgres_once: PostgresConnection) -> Iterator[PostgresConnection]:
    """Yield a migrated PostgreSQL in the same way."""
    with undone(postgres_once):
        yield postgres_once


@pytest.fixture(name="raw", params=["sqlite", "pg"])
def _raw(request: pytest.FixtureRequest) -> Connection:
    """Return each of them in turn, with a product, a shape and a session to hang jobs on."""
    connection: Connection = request.getfixturevalue(request.param)
    connection.run(
        "INSERT INTO job_shapes (number, digest, product, pool, seats, shape) VALUES (1, 'd', 'p', 'pool', 1, '{}')"
    )
    connection.run(
        "INSERT INTO sessions (number, product, factory, boot, opened_at, beat_at, expires_at)"
        " VALUES (1, 'p', 'f', 'b', 1, 1, 9)"
    )
    return connection


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Take back what the block does."""
    with suppress(ZeroDivisionError), connection.transaction():
        yield
        raise ZeroDivisionError


@contextmanager
def refused(raw: Connection, rule: str, kind: type[PilothouseError] = PilothouseError) -> Iterator[None]:
    """Expect that the tables refuse what the block does."""
    with pytest.raises(kind, match=rule), raw.savepoint():
        yield


def insert_job(raw: Connection, number: int, *, stage: Stage = Stage.QUEUED) -> None:
    """Store a job, and bring it past the rules of moves into a stage at epoch 5."""
    raw.run(
        f"{NEW_JOB} VALUES (:number, 1, 1, 0, 2, 1, 1, 1)",
        {"number": number},
    )
    held = 1 if stage in LEASED else None
    via = {Stage.REVIEW: [2, 3, 4], Stage.TESTING: [2, 3, 5], Stage.SHIPPED: [2, 3, 6], Stage.BUILDING: [2, 3]}
    path = via.get(stage, [STAGE_NUMBERS[stage]])
    for step, value in enumerate(path, start=6 - len(path)):
        raw.run(
            "UPDATE jobs SET stage = :stage, epoch = :epoch, session = :session WHERE number = :number",
            {"number": number, "stage": value, "epoch": step, "session": 1 if value in {2, 3} else held},
        )


def insert_spec(raw: Connection, number: int) -> None:
    """Store what never changes of a job."""
    raw.run(
        "INSERT INTO job_specs (number, id, product, pool, key, seats, campaign, spec)"
        " VALUES (:number, :id, 'p', 'pool', :id, 1, 'c', '{}')",
        {"number": number, "id": f"job-{number}"},
    )


def test_the_tables_move_a_job_exactly_as_the_stage_table_says(raw: Connection) -> None:
    """All hundred pairs, each with a growing epoch and a session where one belongs."""
    moved = set()
    pairs = [(before, after) for before in Stage for after in Stage]
    for number, (before, after) in enumerate(pairs, start=1):
        insert_job(raw, number, stage=before)
        with suppress(PilothouseError), raw.savepoint():
            raw.run(
                "UPDATE jobs SET stage = :stage, epoch = 6, session = :session WHERE number = :number",
                {"number": number, "stage": STAGE_NUMBERS[after], "session": 1 if after in LEASED else None},
            )
            moved.add((before, after))

    # Staying where it is moves nothing, and only a job that has ended may not even be touched.
    still = {(stage, stage) for stage in Stage if stage not in ENDS}
    assert moved - still == {pair for pair in pairs if may_move(*pair)}
    assert still <= moved


def test_every_stage_has_its_row_in_the_table() -> None:
    """The table is total and never leads from a stage to itself."""
    assert set(TRANSITIONS) == set(Stage)
    assert all(stage not in after for stage, after in TRANSITIONS.items())
    assert {stage for stage, after in TRANSITIONS.items() if not after} == ENDS


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE jobs SET epoch = 4", "never falls"),
        ("UPDATE jobs SET stage = 2, session = 1", "raise the epoch"),
        ("UPDATE jobs SET stage = 8", "raise the epoch"),
        ("UPDATE jobs SET stage = 7, session = 1", "CHECK|check"),
        ("UPDATE jobs SET stage = 2, epoch = 6", "CHECK|check"),
        ("UPDATE jobs SET stage = 3, epoch = 6, session = 1", "no way"),
        ("UPDATE jobs SET stage = 10", "stage"),
        ("UPDATE jobs SET number = 77", "never change"),
        ("UPDATE jobs SET created_at = 2", "never change"),
        ("UPDATE jobs SET waiting = -1", "CHECK|check"),
        ("UPDATE jobs SET priority = 4", "never change"),
        ("UPDATE job_specs SET key = 'other'", "never changes"),
        ("UPDATE job_specs SET spec = '[]'", "never changes"),
        ("UPDATE job_events SET stage = 6", "never changed"),
        ("DELETE FROM job_events", "never deleted"),
        ("DELETE FROM jobs", "belongs to"),
        ("UPDATE leader SET epoch = -1", "never falls"),
        ("UPDATE leader SET holder = 'other'", "another epoch"),
        ("INSERT INTO leader (number, holder, epoch, expires_at) VALUES (2, '', 0, 0)", "CHECK|check"),
        (f"{NEW_JOB} VALUES (9, 1, 6, 0, 2, 1, 1, 1)", "begins"),
        (f"{NEW_JOB} VALUES (9, 1, 1, 1, 2, 1, 1, 1)", "begins"),
        (f"{NEW_JOB} VALUES (9, 7, 1, 0, 2, 1, 1, 1)", "belongs to"),
        ("INSERT INTO job_edges (job, needs, kind) VALUES (1, 1, 0)", "CHECK|check"),
    ],
)
def test_the_tables_refuse(raw: Connection, statement: str, rule: str) -> None:
    """Whoever asks: a falling epoch, an unfenced claim, a holder without a session, a rewritten history."""
    insert_job(raw, 1)
    raw.run("UPDATE jobs SET epoch = 5")
    insert_spec(raw, 1)
    raw.run("INSERT INTO job_events (job, sequence, at, epoch, stage) VALUES (1, 1, 1, 0, 1)")

    with refused(raw, rule):
        raw.run(statement)


def test_an_ended_attempt_never_changes(raw: Connection) -> None:
    """A late report cannot rewrite how an attempt ended, and an attempt needs its job and its session."""
    insert_job(raw, 1)
    attempt = (
        "INSERT INTO job_attempts (job, epoch, session, claimed_at, ended_at, outcome)"
        " VALUES (:job, :epoch, :session, 1, 2, 4)"
    )
    raw.run(attempt, {"job": 1, "epoch": 1, "session": 1})

    with refused(raw, "never changes", Conflict):
        raw.run("UPDATE job_attempts SET outcome = 0")
    for wrong in ({"job": 8, "epoch": 1, "session": 1}, {"job": 1, "epoch": 3, "session": 8}):
        with refused(raw, "belongs to"):
            raw.run(attempt, wrong)


def fill(raw: Connection) -> None:
    """Store one row in every table whose rows are never changed."""
    insert_job(raw, 1)
    insert_spec(raw, 1)
    raw.run("INSERT INTO job_attempts (job, epoch, session, claimed_at) VALUES (1, 1, 1, 1)")
    raw.run("INSERT INTO job_events (job, sequence, at, epoch, stage) VALUES (1, 1, 1, 0, 1)")
    raw.run("INSERT INTO ledger (job, epoch, product, engine, reserved_at, usd) VALUES (1, 1, 'p', '', 1, 1)")
    raw.run(
        "INSERT INTO campaigns"
        " (product, name, kind, definition, definition_digest, config, created_at, last_error, next_action)"
        " VALUES ('p', 'c', 'k', '{}', 'd', '{}', 1, '', '')"
    )
    raw.run(
        "INSERT INTO promotions (product, campaign, trial, samples, config, reason, at)"
        " VALUES ('p', 'c', 1, 's', '{}', 'why', 1)"
    )
    raw.run(
        "INSERT INTO approvals (product, campaign, subject_digest, approver, waiver, reason, granted_at)"
        " VALUES ('p', 'c', 'd', 'ada', 0, '', 1)"
    )
    raw.run(
        "INSERT INTO entries (product, thread, number, at, label, hypothesis, command, config, result,"
        " interpretation, next_action, confidence, evidence, previous_hash, hash)"
        " VALUES ('p', 't', 1, 1, '', '', '', '', '', '', '', '', '{}', '', 'h')"
    )
    fill_the_gate(raw)


def fill_the_gate(raw: Connection) -> None:
    """Store a proposal of the campaign, an agent's run for it, and the waiver that let it through."""
    raw.run(
        "INSERT INTO proposals (id, product, campaign, number, parent_digest, config, changes, why_not_identical,"
        " rationale, hypothesis, risk, rollback, source, subject, state, created_at, refusal)"
        " VALUES ('q', 'p', 'c', 1, 'd', '{}', '[]', '', '', '', 'low', '', '', '{}', 'open', 1, '')"
    )
    raw.run("INSERT INTO agent_runs (product, campaign, proposal, at, record) VALUES ('p', 'c', 'q', 1, '{}')")
    raw.run(
        "INSERT INTO agent_incidents (product, campaign, proposal, at, diagnosis, evidence, occurrences, response)"
        " VALUES ('p', 'c', 'q', 1, 'file', '', 1, '')"
    )
    raw.run(
        "INSERT INTO waivers (id, product, campaign, granted_by, reason, knobs, buckets, risk, proposals, terms,"
        " granted_at, expires_at) VALUES ('w', 'p', 'c', 'ada', 'why', '[]', '[]', 'low', 9, '{}', 1, 2)"
    )
    raw.run(
        "INSERT INTO admissions (product, campaign, proposal, subject_digest, approver, waiver, at)"
        " VALUES ('p', 'c', 'q', 'd', 'ada', 'w', 1)"
    )


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_record_is_append_only(raw: Connection, table: str) -> None:
    """Entries, promotions, the gate's records, history and ledger: changed, deleted, replaced or emptied by nobody."""
    fill(raw)
    everything = "SELECT * FROM " + table  # noqa: S608  the name comes from the list above
    before = [list(row) for row in raw.rows(everything)]
    own = "TRUNCATE {} CASCADE" if isinstance(raw, PostgresConnection) else "REPLACE INTO {0} SELECT * FROM {0}"
    column = {"ledger": "usd", "job_events": "at"}.get(table, "product")

    update = "UPDATE {} SET " + f"{column} = {column}"  # noqa: S608  as above
    for change in (update, "DELETE FROM {}", own):
        with refused(raw, "never|append-only|an entry has the number", Conflict):
            raw.run(change.format(table))

    assert [list(row) for row in raw.rows(everything)] == before
    assert len(before) == 1


def test_a_golden_set_cannot_be_unlocked(raw: Connection) -> None:
    """Neither its digest nor a look can be taken back."""
    fill(raw)
    raw.run("INSERT INTO golden_sets (product, campaign, name, digest, looks) VALUES ('p', 'c', 'g', 'digest', 3)")
    for change in ("UPDATE golden_sets SET digest = 'other'", "UPDATE golden_sets SET looks = 2"):
        with refused(raw, "golden set", Conflict):
            raw.run(change)


def test_an_entry_follows_the_last_one(raw: Connection) -> None:
    """By its number and by the hash that it names."""
    fill(raw)
    entry = (
        "INSERT INTO entries (product, thread, number, at, label, hypothesis, command, config, result,"
        " interpretation, next_action, confidence, evidence, previous_hash, hash)"
        " VALUES ('p', 't', :number, 1, '', '', '', '', '', '', '', '', '{}', :previous, 'h2')"
    )
    for number, previous in ((1, "h"), (3, "h"), (2, "x"), (2, "")):
        with refused(raw, "an entry", Conflict):
            raw.run(entry, {"number": number, "previous": previous})
    assert raw.run(entry, {"number": 2, "previous": "h"}) == 1


def sqlite_columns(raw: SqliteConnection) -> Mapping[str, set[tuple[str, bool]]]:
    """Return the columns of every table with whether they must be filled."""
    found = raw.rows(
        'SELECT tables.name AS table_name, columns.name, columns."notnull" OR columns.pk AS filled'
        " FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
    )
    return by_table([(row["table_name"], row["name"], bool(row["filled"])) for row in found])


def postgres_columns(raw: PostgresConnection) -> Mapping[str, set[tuple[str, bool]]]:
    """Return the same of PostgreSQL."""
    found = raw.rows(
        "SELECT columns.table_name, column_name, is_nullable = 'NO' AS filled FROM information_schema.columns"
        " JOIN information_schema.tables ON tables.table_name = columns.table_name"
        " WHERE columns.table_schema = 'public' AND tables.table_type = 'BASE TABLE'"
    )
    return by_table([(row["table_name"], row["column_name"], row["filled"]) for row in found])


def by_table(found: list[tuple[str, str, bool]]) -> Mapping[str, set[tuple[str, bool]]]:
    """Return the columns by their table."""
    return {table: {(name, filled) for each, name, filled in found if each == table} for table, _, _ in found}


def test_both_databases_hold_the_same(sqlite: SqliteConnection, pg: PostgresConnection) -> None:
    """The same tables with the same columns, filled or not, by the same numbered steps; and every row has a product."""
    ours, theirs = sqlite_columns(sqlite), postgres_columns(pg)
    without = {table for table, columns in ours.items() if ("product", True) not in columns}

    assert ours == theirs
    assert without == {"schema_version", "leader", "tokens", "audit", *OF_A_CHANNEL, *OF_A_JOB}
    assert ("product", False) in ours["tokens"]
    assert [(each.version, each.name) for each in migrations("sqlite")] == [
        (each.version, each.name) for each in migrations("postgres")
    ]


def test_a_column_holds_what_it_says(sqlite: SqliteConnection, pg: PostgresConnection) -> None:
    """SQLite's tables are strict; PostgreSQL's text is compared byte by byte, whatever the database's collation."""
    loose = sqlite.rows(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0"
        " AND name NOT LIKE 'sqlite_%'"
    )
    words = pg.rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    )

    assert [row["name"] for row in loose] == []
    assert [tuple(row) for row in words] == []


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("assign_jobs", {"PRIMARY KEY"}),
        ("ship_jobs", {"PRIMARY KEY"}),
        ("end_attempt", {"PRIMARY KEY"}),
        ("tell_claims", {"PRIMARY KEY"}),
        ("end_attempts", {"PRIMARY KEY"}),
        ("finish_job", {"PRIMARY KEY"}),
        ("job_by_key", {"PRIMARY KEY", "sqlite_autoindex_job_specs_2"}),
        ("jobs_with_prefix", {"PRIMARY KEY", "sqlite_autoindex_job_specs_2"}),
        ("newest_jobs_of_campaign", {"PRIMARY KEY", "job_specs_of_campaign"}),
        ("intact_artifact", {"PRIMARY KEY", "job_artifacts_by_digest"}),
    ],
)
def test_hot_queries_of_sqlite_go_by_their_index(sqlite: SqliteConnection, query: str, indexes: set[str]) -> None:
    """A claim and a completion find their row by its number; nothing hot scans a table."""
    sql = sqlite.queries("jobs")[query].replace("VALUES ?", "VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1, 1)")
    names = {**dict.fromkeys(re.findall(r":([a-z_]+)", sql), 1), **dict.fromkeys(re.findall(r"\?(\d+)", sql), 1)}
    plan = [row["detail"] for row in sqlite.rows(f"EXPLAIN QUERY PLAN {sql}", names)]

    found = {name for step in plan for name in re.findall(r"(?:INDEX|INTEGER|USING) (PRIMARY KEY|\w*_\w+)", step)}

    assert not [step for step in plan if re.match(r"SCAN (?!CONSTANT ROW|\d+-ROW|\(subquery)", step)]
    assert found == indexes


@pytest.mark.parametrize(
    "query",
    [
        "assign_jobs",
        "ship_jobs",
        "end_attempts",
        "tell_claims",
        "tell_endings",
        "tell",
        "finish_job",
        "job_by_key",
        "jobs_with_prefix",
        "newest_jobs",
        "newest_jobs_of_campaign",
        "intact_artifact",
        "children_of_job",
    ],
)
def test_hot_queries_of_postgres_need_no_scan(pg: PostgresConnection, query: str) -> None:
    """Where an index can answer, the planner finds it once tables are not empty."""
    sql = pg.queries("jobs")[query]
    text = re.sub(r"(?<!:):[a-z_]+|%s", "NULL", sql)
    pg.run("SET LOCAL enable_seqscan = off")
    plan = [str(row["QUERY PLAN"]) for row in pg.rows(f"EXPLAIN {text}")]

    assert [step for step in plan if "Seq Scan" in step] == []


@pytest.mark.parametrize("name", ["assign_jobs", "ship_jobs"])
def test_a_move_of_a_job_touches_no_index(pg: PostgresConnection, name: str) -> None:
    """No column that a claim or a completion sets is in an index, so PostgreSQL writes the new row beside the old."""
    sql = pg.queries("jobs")[name]
    changed = set(re.findall(r"(\w+) = ", sql.split("SET", 1)[1].split("FROM", 1)[0]))
    indexed = pg.rows(
        "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
        " WHERE indrelid = 'jobs'::regclass"
    )

    assert {"stage", "epoch"} & changed
    assert changed & {str(row["attname"]) for row in indexed} == set()
