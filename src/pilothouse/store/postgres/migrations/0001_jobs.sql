-- Jobs and what belongs to them. Times are whole microseconds since 1970 in UTC; JSON is text. Stages, priorities and
-- outcomes are numbers, in the order of their enumerations. Text is compared byte by byte, whatever the database's
-- own collation is, since SQLite compares it so.
--
-- Claims and completions come by the hundred in one statement. A foreign key would be checked row by row, at a multiple
-- of the price of the row; where rows are hot, a trigger asks once for the whole statement. What such a row refers to
-- is never deleted, so that nothing can go wrong between.

-- One row per scheduling class: jobs of one shape differ only in priority and age.
CREATE TABLE job_shapes (
    number integer PRIMARY KEY,
    digest text COLLATE "C" NOT NULL UNIQUE,
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    pool text COLLATE "C" NOT NULL CHECK (pool <> ''),
    seats bigint NOT NULL CHECK (seats >= 1),
    shape text COLLATE "C" NOT NULL
);

-- One boot of a factory. The lease of every job it holds is its session's, renewed by one row.
CREATE TABLE sessions (
    number bigint PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    factory text COLLATE "C" NOT NULL CHECK (factory <> ''),
    boot text COLLATE "C" NOT NULL CHECK (boot <> ''),
    opened_at bigint NOT NULL,
    beat_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    closed_at bigint,
    closed_why text COLLATE "C" NOT NULL DEFAULT '',
    UNIQUE (product, factory, boot)
) WITH (fillfactor = 75);

-- The narrow, hot part of a job: whole numbers only, and no index on what a claim or a completion changes. A batch
-- changes all the rows of a page at once; with half of it kept free, their new versions stand beside the old ones and
-- no index is touched.
CREATE TABLE jobs (
    number bigint PRIMARY KEY,
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    session bigint,
    stop_at bigint,
    shape integer NOT NULL,
    epoch integer NOT NULL,
    sequence integer NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    preemptions integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    waiting integer NOT NULL DEFAULT 0 CHECK (waiting >= 0),
    marks integer NOT NULL DEFAULT 0,
    stage smallint NOT NULL CHECK (stage BETWEEN 0 AND 9),
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    CHECK ((stage IN (2, 3)) = (session IS NOT NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- What never changes of a job: its names and everything an attempt needs.
CREATE TABLE job_specs (
    number bigint PRIMARY KEY REFERENCES jobs (number),
    -- An id names a folder, so it holds nothing that a path could read otherwise.
    id text COLLATE "C" NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 100 AND id !~ '[^A-Za-z0-9_-]'),
    product text COLLATE "C" NOT NULL,
    pool text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL CHECK (key <> ''),
    seats bigint NOT NULL,
    parent bigint REFERENCES jobs (number),
    campaign text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    spec text COLLATE "C" NOT NULL,
    CONSTRAINT job_specs_of_key UNIQUE (product, key)
);

CREATE INDEX job_specs_of_campaign ON job_specs (product, campaign, number);
CREATE INDEX job_specs_of_parent ON job_specs (parent) WHERE parent IS NOT NULL;

-- Who waits for whom: `job` for `needs`. A parent waits for its children; `met` is set once.
CREATE TABLE job_edges (
    job bigint NOT NULL REFERENCES jobs (number),
    needs bigint NOT NULL REFERENCES jobs (number),
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 3),
    met smallint NOT NULL DEFAULT 0 CHECK (met IN (0, 1)),
    PRIMARY KEY (job, needs),
    CHECK (job <> needs)
);

CREATE INDEX job_edges_back ON job_edges (needs, job);

-- One row per claim.
CREATE TABLE job_attempts (
    job bigint NOT NULL,
    session bigint NOT NULL,
    claimed_at bigint NOT NULL,
    started_at bigint,
    ended_at bigint,
    pid bigint,
    pid_started double precision,
    progress_at bigint,
    exit_code bigint,
    seconds double precision,
    peak_memory_mb double precision,
    epoch integer NOT NULL,
    outcome smallint,
    progress text COLLATE "C",
    detail text COLLATE "C",
    metrics text COLLATE "C",
    PRIMARY KEY (job, epoch),
    CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CHECK ((progress IS NULL) = (progress_at IS NULL)),
    CHECK ((pid IS NULL) = (started_at IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- What an attempt sealed. The digest is looked up when a folder turns out to be damaged.
CREATE TABLE job_artifacts (
    job bigint NOT NULL,
    epoch integer NOT NULL,
    position bigint NOT NULL,
    product text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    meta text COLLATE "C" NOT NULL,
    damaged_at bigint,
    PRIMARY KEY (job, epoch, name),
    FOREIGN KEY (job, epoch) REFERENCES job_attempts (job, epoch)
);

CREATE INDEX job_artifacts_by_digest ON job_artifacts (product, digest);

-- The history, written by the same statements of the store that move a job.
CREATE TABLE job_events (
    job bigint NOT NULL,
    at bigint NOT NULL,
    sequence integer NOT NULL,
    epoch integer NOT NULL,
    stage smallint NOT NULL,
    previous smallint,
    why text COLLATE "C",
    PRIMARY KEY (job, sequence)
);

-- One decision per reviewer and attempt; the last one counts.
CREATE TABLE job_reviews (
    job bigint NOT NULL REFERENCES jobs (number),
    epoch integer NOT NULL,
    reviewer text COLLATE "C" NOT NULL CHECK (reviewer <> ''),
    approved smallint NOT NULL CHECK (approved IN (0, 1)),
    reason text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (job, epoch, reviewer)
);

-- What a trigger says when its rule is broken.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE FUNCTION check_shapes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT shape FROM added) AS named
        WHERE NOT EXISTS (SELECT 1 FROM job_shapes WHERE job_shapes.number = named.shape)
    ) THEN
        RAISE EXCEPTION 'a job has a shape that is stored' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_have_a_shape AFTER INSERT ON jobs REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION check_shapes();

CREATE FUNCTION check_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT session FROM added WHERE session IS NOT NULL) AS named
        WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.number = named.session)
    ) THEN
        RAISE EXCEPTION 'a job is held by a session that is stored' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_are_held_by_a_session AFTER UPDATE ON jobs REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION check_sessions();

CREATE TRIGGER attempts_have_a_session AFTER INSERT ON job_attempts REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION check_sessions();

-- Jobs are found by their number, however many there are and whatever the planner believes.
CREATE FUNCTION check_jobs() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.number = added.job)) THEN
        RAISE EXCEPTION 'an attempt has a job that is stored' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER attempts_have_a_job AFTER INSERT ON job_attempts REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION check_jobs();

CREATE TRIGGER job_shapes_never_change BEFORE UPDATE OR DELETE ON job_shapes FOR EACH ROW
EXECUTE FUNCTION refuse('a shape never changes');

-- A job begins blocked or queued, at epoch 0.
CREATE TRIGGER jobs_begin BEFORE INSERT ON jobs FOR EACH ROW
WHEN (NEW.stage > 1 OR NEW.epoch <> 0)
EXECUTE FUNCTION refuse('a job begins blocked or queued, at epoch 0');

CREATE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', CASE
        WHEN OLD.stage > 5 THEN 'a job that has ended never changes'
        WHEN NEW.epoch < OLD.epoch THEN 'the epoch of a job never falls'
        WHEN NEW.epoch = OLD.epoch AND (NEW.stage = 2 OR NEW.stage = 8 OR (NEW.stage = 1 AND OLD.stage > 1))
            THEN 'a claim, a return to the queue and a cancellation raise the epoch'
        ELSE 'the stage table has no way from the old stage to the new one'
    END USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- An end is an end, the epoch never falls, the stage table is followed (old stage * 10 + new stage), and a claim, a
-- return to the queue and a cancellation raise the epoch, so that whoever held the job before is fenced. The rule
-- stands in the condition, which costs a move that keeps it next to nothing; asked before the update, it would lock
-- each row a second time.
CREATE TRIGGER jobs_move_by_the_rules AFTER UPDATE ON jobs FOR EACH ROW
WHEN (NEW.epoch < OLD.epoch OR OLD.stage > 5 OR (NEW.stage <> OLD.stage AND (
    OLD.stage * 10 + NEW.stage NOT IN (
        1, 7, 8, 9,
        10, 12, 17, 18, 19,
        21, 23, 24, 25, 26, 27, 28, 29,
        31, 34, 35, 36, 37, 38, 39,
        41, 45, 47, 48, 49,
        51, 56, 57, 58, 59
    )
    OR (NEW.epoch = OLD.epoch AND (NEW.stage = 2 OR NEW.stage = 8 OR (NEW.stage = 1 AND OLD.stage > 1)))
)))
EXECUTE FUNCTION refuse_move();

CREATE TRIGGER jobs_keep_their_identity BEFORE UPDATE OF number, shape, priority, created_at ON jobs FOR EACH ROW
EXECUTE FUNCTION refuse('the number, shape, priority and creation of a job never change');

CREATE TRIGGER job_specs_never_change BEFORE UPDATE ON job_specs FOR EACH ROW
EXECUTE FUNCTION refuse('the spec of a job never changes');

CREATE TRIGGER job_attempts_end_once AFTER UPDATE ON job_attempts FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL)
EXECUTE FUNCTION refuse('an attempt that has ended never changes');

CREATE TRIGGER job_events_are_never_changed BEFORE UPDATE ON job_events FOR EACH ROW
EXECUTE FUNCTION refuse('history is never changed');

CREATE TRIGGER job_events_are_never_deleted BEFORE DELETE ON job_events FOR EACH ROW
EXECUTE FUNCTION refuse('history is never deleted');

CREATE TRIGGER job_events_are_never_emptied BEFORE TRUNCATE ON job_events FOR EACH STATEMENT
EXECUTE FUNCTION refuse('history is never deleted');

-- A job as every reader sees it: its hot part, its names, and who holds it.
CREATE VIEW job_rows AS
SELECT
    jobs.number, jobs.shape, jobs.stage, jobs.epoch, jobs.priority, jobs.created_at, jobs.changed_at, jobs.session,
    jobs.failures, jobs.preemptions, jobs.losses, jobs.waiting, jobs.marks, jobs.stop_at,
    job_specs.id, job_specs.product, job_specs.pool, job_specs.key, job_specs.seats, job_specs.campaign,
    job_specs.parent, parents.id AS parent_id, sessions.factory, sessions.boot
FROM jobs
JOIN job_specs ON job_specs.number = jobs.number
LEFT JOIN job_specs AS parents ON parents.number = job_specs.parent
LEFT JOIN sessions ON sessions.number = jobs.session;
