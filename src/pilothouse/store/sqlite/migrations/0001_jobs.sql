-- Jobs and what belongs to them. Times are whole microseconds since 1970 in UTC; JSON is text. Stages, priorities and
-- outcomes are numbers, in the order of their enumerations: a row of integers is moved in a quarter of the time.

-- One row per scheduling class: jobs of one shape differ only in priority and age.
CREATE TABLE job_shapes (
    number INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    product TEXT NOT NULL CHECK (product <> ''),
    pool TEXT NOT NULL CHECK (pool <> ''),
    seats INTEGER NOT NULL CHECK (seats >= 1),
    shape TEXT NOT NULL
) STRICT;

-- One boot of a factory. The lease of every job it holds is its session's, renewed by one row.
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    factory TEXT NOT NULL CHECK (factory <> ''),
    boot TEXT NOT NULL CHECK (boot <> ''),
    opened_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    closed_at INTEGER,
    closed_why TEXT NOT NULL DEFAULT '',
    UNIQUE (product, factory, boot)
) STRICT;

-- The narrow, hot part of a job: whole numbers only, and no index on what a claim or a completion changes.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    shape INTEGER NOT NULL REFERENCES job_shapes (number),
    stage INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 9),
    epoch INTEGER NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    sequence INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    session INTEGER REFERENCES sessions (number),
    failures INTEGER NOT NULL DEFAULT 0,
    preemptions INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0 CHECK (waiting >= 0),
    marks INTEGER NOT NULL DEFAULT 0,
    stop_at INTEGER,
    CHECK ((stage IN (2, 3)) = (session IS NOT NULL))
) STRICT;

-- What never changes of a job: its names and everything an attempt needs.
CREATE TABLE job_specs (
    number INTEGER PRIMARY KEY REFERENCES jobs (number),
    -- An id names a folder, so it holds nothing that a path could read otherwise.
    id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 100 AND id NOT GLOB '*[^A-Za-z0-9_-]*'),
    product TEXT NOT NULL,
    pool TEXT NOT NULL,
    key TEXT NOT NULL CHECK (key <> ''),
    seats INTEGER NOT NULL,
    parent INTEGER REFERENCES jobs (number),
    campaign TEXT NOT NULL,
    digest TEXT NOT NULL,
    spec TEXT NOT NULL,
    UNIQUE (product, key)
) STRICT;

CREATE INDEX job_specs_of_campaign ON job_specs (product, campaign, number);
CREATE INDEX job_specs_of_parent ON job_specs (parent) WHERE parent IS NOT NULL;

-- Who waits for whom: `job` for `needs`. A parent waits for its children; `met` is set once.
CREATE TABLE job_edges (
    job INTEGER NOT NULL REFERENCES jobs (number),
    needs INTEGER NOT NULL REFERENCES jobs (number),
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
    met INTEGER NOT NULL DEFAULT 0 CHECK (met IN (0, 1)),
    PRIMARY KEY (job, needs),
    CHECK (job <> needs)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_edges_back ON job_edges (needs, job);

-- One row per claim.
CREATE TABLE job_attempts (
    job INTEGER NOT NULL REFERENCES jobs (number),
    epoch INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions (number),
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    pid INTEGER,
    pid_started REAL,
    progress TEXT,
    progress_at INTEGER,
    outcome INTEGER,
    detail TEXT,
    exit_code INTEGER,
    metrics TEXT,
    seconds REAL,
    peak_memory_mb REAL,
    PRIMARY KEY (job, epoch),
    CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CHECK ((progress IS NULL) = (progress_at IS NULL)),
    CHECK ((pid IS NULL) = (started_at IS NULL))
) STRICT, WITHOUT ROWID;

-- What an attempt sealed. The digest is looked up when a folder turns out to be damaged.
CREATE TABLE job_artifacts (
    job INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    product TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    meta TEXT NOT NULL,
    damaged_at INTEGER,
    PRIMARY KEY (job, epoch, name),
    FOREIGN KEY (job, epoch) REFERENCES job_attempts (job, epoch)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_artifacts_by_digest ON job_artifacts (product, digest);

-- The history, written by the same statements of the store that move a job.
CREATE TABLE job_events (
    job INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    previous INTEGER,
    why TEXT,
    PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;

-- One decision per reviewer and attempt; the last one counts.
CREATE TABLE job_reviews (
    job INTEGER NOT NULL REFERENCES jobs (number),
    epoch INTEGER NOT NULL,
    reviewer TEXT NOT NULL CHECK (reviewer <> ''),
    approved INTEGER NOT NULL CHECK (approved IN (0, 1)),
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (job, epoch, reviewer)
) STRICT, WITHOUT ROWID;

-- A job begins blocked or queued, at epoch 0.
CREATE TRIGGER jobs_begin BEFORE INSERT ON jobs
WHEN NEW.stage > 1 OR NEW.epoch <> 0
BEGIN
    SELECT RAISE(ABORT, 'a job begins blocked or queued, at epoch 0');
END;

-- An end is an end, the epoch never falls, the stage table is followed, and a claim, a return to the queue and a
-- cancellation raise the epoch, so that whoever held the job before is fenced. For each old stage there is a number
-- whose bits are the stages that may follow: every claim pays for this, and a list would cost it five times as much.
CREATE TRIGGER jobs_move_by_the_rules AFTER UPDATE ON jobs
WHEN NEW.epoch < OLD.epoch OR OLD.stage > 5 OR (NEW.stage <> OLD.stage AND (
    (CASE OLD.stage
        WHEN 0 THEN 898 -- queued, failed, cancelled, dead_letter
        WHEN 1 THEN 901 -- blocked, assigned, and the last three
        WHEN 2 THEN 1018 -- queued, building, review, testing, and the four ends
        WHEN 3 THEN 1010 -- queued, review, testing, and the four ends
        WHEN 4 THEN 930 -- queued, testing, and the last three
        ELSE 962 -- queued, and the four ends
    END >> NEW.stage) & 1 = 0
    OR (NEW.epoch = OLD.epoch AND (NEW.stage = 2 OR NEW.stage = 8 OR (NEW.stage = 1 AND OLD.stage > 1)))
))
BEGIN
    SELECT CASE
        WHEN OLD.stage > 5 THEN RAISE(ABORT, 'a job that has ended never changes')
        WHEN NEW.epoch < OLD.epoch THEN RAISE(ABORT, 'the epoch of a job never falls')
        WHEN NEW.epoch = OLD.epoch AND (NEW.stage = 2 OR NEW.stage = 8 OR (NEW.stage = 1 AND OLD.stage > 1))
            THEN RAISE(ABORT, 'a claim, a return to the queue and a cancellation raise the epoch')
        ELSE RAISE(ABORT, 'the stage table has no way from the old stage to the new one')
    END;
END;

CREATE TRIGGER jobs_keep_their_identity BEFORE UPDATE OF number, shape, priority, created_at ON jobs
BEGIN
    SELECT RAISE(ABORT, 'the number, shape, priority and creation of a job never change');
END;

CREATE TRIGGER job_specs_never_change BEFORE UPDATE ON job_specs
BEGIN
    SELECT RAISE(ABORT, 'the spec of a job never changes');
END;

CREATE TRIGGER job_attempts_end_once BEFORE UPDATE ON job_attempts
WHEN OLD.ended_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'an attempt that has ended never changes');
END;

CREATE TRIGGER job_events_are_never_changed BEFORE UPDATE ON job_events
BEGIN
    SELECT RAISE(ABORT, 'history is never changed');
END;

CREATE TRIGGER job_events_are_never_deleted BEFORE DELETE ON job_events
BEGIN
    SELECT RAISE(ABORT, 'history is never deleted');
END;

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
