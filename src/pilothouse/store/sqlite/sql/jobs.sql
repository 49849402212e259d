-- name: jobs_with_prefix
-- Lists the jobs whose key starts with a prefix, oldest first.
-- The range relies on keys being compared byte by byte.
SELECT * FROM job_rows
WHERE product = :product AND key >= :prefix AND key < :prefix || char(1114111)
ORDER BY number;

-- name: insert_jobs
-- Stores the hot parts of new jobs.
INSERT INTO jobs (number, shape, stage, epoch, priority, sequence, created_at, changed_at, marks)
SELECT column1, column2, column3, 0, column4, 1, column5, column5, column6 FROM (VALUES ?);

-- name: insert_specs
-- Stores what attempts of new jobs need.
INSERT INTO job_specs (number, id, product, pool, key, seats, parent, campaign, spec) VALUES ?;

-- name: tell_beginnings
-- Writes the first lines of history.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT column1, 1, column5, 0, column3, NULL, NULL FROM (VALUES ?);

-- name: assign_jobs
-- Gives queued jobs to sessions under new epochs.
UPDATE jobs
SET stage = 2, epoch = epoch + 1, session = value ->> 2, sequence = sequence + 1, changed_at = value ->> 3
FROM json_each(?1)
WHERE number = value ->> 0 AND epoch = value ->> 1 AND stage = 1;

-- name: open_attempts
-- Opens the attempts of claims that were made.
INSERT INTO job_attempts (job, epoch, session, claimed_at)
SELECT value ->> 0, (value ->> 1) + 1, value ->> 2, value ->> 3 FROM json_each(?1);

-- name: tell_claims
-- Writes the lines of history that claims have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT number, sequence, changed_at, epoch, 2, 1, nullif(value ->> 4, '')
FROM json_each(?1) CROSS JOIN jobs ON number = value ->> 0;

-- name: ship_jobs
-- Ships held jobs whose attempts have succeeded.
UPDATE jobs
SET stage = 6, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = value ->> 2
FROM json_each(?1)
WHERE number = value ->> 0 AND epoch = value ->> 1 AND stage = value ->> 9;

-- name: end_attempts
-- Keeps how attempts ended.
UPDATE job_attempts
SET ended_at = value ->> 2, outcome = value ->> 3, detail = value ->> 4, exit_code = value ->> 5,
    metrics = value ->> 6, seconds = CAST(value ->> 7 AS REAL), peak_memory_mb = CAST(value ->> 8 AS REAL)
FROM json_each(?1)
WHERE job = value ->> 0 AND epoch = value ->> 1 AND ended_at IS NULL;

-- name: tell_endings
-- Writes the lines of history that successes have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT number, sequence, changed_at, epoch, 6, value ->> 9, NULL
FROM json_each(?1) CROSS JOIN jobs ON number = value ->> 0;

-- name: handed_jobs
-- Reads what factories are handed.
SELECT job_specs.number, job_specs.id, product, job_specs.key, spec
FROM json_each(?1) CROSS JOIN job_specs ON job_specs.number = value ->> 0;

-- name: jobs_by_keys
-- Finds the jobs that some idempotency keys stand for.
SELECT job_rows.* FROM json_each(?1)
CROSS JOIN job_rows ON job_rows.product = value ->> 0 AND job_rows.key = value ->> 1;
