-- Jobs and what belongs to them. Times are whole microseconds since 1970 in UTC; JSON is text.

-- The narrow, hot part of a job. No index touches a column that a claim, a renewal or a completion changes.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    -- An id names a folder, so it holds nothing that a path could read otherwise.
    id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 100 AND id NOT GLOB '*[^A-Za-z0-9_-]*'),
    product TEXT NOT NULL CHECK (product <> ''),
    pool TEXT NOT NULL CHECK (pool <> ''),
    key TEXT NOT NULL CHECK (key <> ''),
    stage TEXT NOT NULL CHECK (stage IN (
        'blocked', 'queued', 'assigned', 'building', 'review', 'testing',
        'shipped', 'failed', 'cancelled', 'dead_letter'
    )),
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    priority TEXT NOT NULL CHECK (priority IN ('critical', 'high', 'medium', 'low')),
    seats INTEGER NOT NULL CHECK (seats >= 1),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    factory TEXT,
    boot TEXT,
    lease_expires_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    preemptions INTEGER NOT NULL DEFAULT 0 CHECK (preemptions >= 0),
    losses INTEGER NOT NULL DEFAULT 0 CHECK (losses >= 0),
    UNIQUE (product, key),
    CHECK ((stage IN ('assigned', 'building')) = (factory IS NOT NULL)),
    CHECK ((factory IS NULL) = (boot IS NULL)),
    CHECK ((factory IS NULL) = (lease_expires_at IS NULL))
) STRICT;

CREATE INDEX jobs_of_product ON jobs (product);

-- What an attempt needs, stored once.
CREATE TABLE job_specs (
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL UNIQUE REFERENCES jobs (id),
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    digest TEXT NOT NULL,
    spec TEXT NOT NULL
) STRICT;

CREATE INDEX job_specs_of_campaign ON job_specs (product, campaign);

-- One row per claim.
CREATE TABLE job_attempts (
    job TEXT NOT NULL REFERENCES jobs (id),
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    product TEXT NOT NULL,
    factory TEXT NOT NULL,
    boot TEXT NOT NULL,
    folder TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    pid INTEGER,
    pid_started REAL,
    progress TEXT,
    progress_at INTEGER,
    outcome TEXT CHECK (outcome IN (
        'succeeded', 'crashed', 'out_of_memory', 'disk_full', 'not_a_number', 'silent', 'timed_out',
        'summary_missing', 'promise_broken', 'resumed_too_early', 'input_damaged', 'launch_failed',
        'preempted', 'lost', 'cancelled'
    )),
    detail TEXT NOT NULL DEFAULT '',
    exit_code INTEGER,
    metrics TEXT NOT NULL DEFAULT '{}',
    seconds REAL,
    peak_memory_mb REAL,
    PRIMARY KEY (job, epoch),
    CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CHECK ((progress IS NULL) = (progress_at IS NULL)),
    CHECK ((pid IS NULL) = (started_at IS NULL))
) STRICT, WITHOUT ROWID;

-- What an attempt sealed. The digest is looked up when a folder turns out to be damaged.
CREATE TABLE job_artifacts (
    job TEXT NOT NULL,
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

-- The history, which only the triggers below write.
CREATE TABLE job_events (
    job TEXT NOT NULL REFERENCES jobs (id),
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    product TEXT NOT NULL,
    at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    stage TEXT NOT NULL,
    previous TEXT,
    PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_begin BEFORE INSERT ON jobs
WHEN NEW.stage NOT IN ('blocked', 'queued') OR NEW.epoch <> 0
BEGIN
    SELECT RAISE(ABORT, 'a job begins blocked or queued, at epoch 0');
END;

CREATE TRIGGER jobs_keep_their_identity BEFORE UPDATE OF number, id, product, key, created_at ON jobs
BEGIN
    SELECT RAISE(ABORT, 'the id, product, key and creation of a job never change');
END;

-- The rules of a move stand in one trigger, since each costs a claim about as much as the change itself:
-- an end is an end, the epoch never falls, the stage table is followed, and whoever held the job before is fenced.
CREATE TRIGGER jobs_move_by_the_rules BEFORE UPDATE ON jobs
WHEN OLD.stage IN ('shipped', 'failed', 'cancelled', 'dead_letter')
    OR NEW.epoch < OLD.epoch
    OR (NEW.stage <> OLD.stage AND NOT (
        (
            NEW.stage IN ('failed', 'dead_letter')
            OR (OLD.stage = 'blocked' AND NEW.stage = 'queued')
            OR (OLD.stage = 'queued' AND NEW.stage = 'blocked')
            OR (OLD.stage = 'assigned' AND NEW.stage = 'building')
            OR (OLD.stage = 'building' AND NEW.stage IN ('review', 'testing', 'shipped'))
            OR (OLD.stage = 'review' AND NEW.stage = 'testing')
            OR (OLD.stage = 'testing' AND NEW.stage = 'shipped')
        )
        OR (NEW.epoch > OLD.epoch AND (
            NEW.stage = 'cancelled'
            OR (OLD.stage = 'queued' AND NEW.stage = 'assigned')
            OR (OLD.stage IN ('assigned', 'building', 'review', 'testing') AND NEW.stage = 'queued')
        ))
    ))
BEGIN
    SELECT CASE
        WHEN OLD.stage IN ('shipped', 'failed', 'cancelled', 'dead_letter')
            THEN RAISE(ABORT, 'a job that has ended never changes')
        WHEN NEW.epoch < OLD.epoch
            THEN RAISE(ABORT, 'the epoch of a job never falls')
        WHEN NEW.epoch = OLD.epoch AND NEW.stage IN ('assigned', 'queued', 'cancelled')
            THEN RAISE(ABORT, 'a claim, a return to the queue and a cancellation raise the epoch')
        ELSE RAISE(ABORT, 'the stage table has no way from the old stage to the new one')
    END;
END;

CREATE TRIGGER jobs_tell_their_beginning AFTER INSERT ON jobs
BEGIN
    INSERT INTO job_events (job, sequence, product, at, epoch, stage, previous)
    VALUES (NEW.id, 1, NEW.product, NEW.changed_at, NEW.epoch, NEW.stage, NULL);
END;

CREATE TRIGGER jobs_tell_their_moves AFTER UPDATE OF stage, epoch ON jobs
WHEN NEW.stage <> OLD.stage OR NEW.epoch <> OLD.epoch
BEGIN
    INSERT INTO job_events (job, sequence, product, at, epoch, stage, previous)
    VALUES (
        NEW.id, (SELECT max(sequence) + 1 FROM job_events WHERE job = NEW.id), NEW.product,
        NEW.changed_at, NEW.epoch, NEW.stage, OLD.stage
    );
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
