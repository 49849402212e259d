-- name: jobs_with_prefix
-- Lists the jobs whose key starts with a prefix, oldest first.
-- The range relies on keys being compared byte by byte.
SELECT * FROM job_rows
WHERE product = :product AND key >= :prefix AND key < :prefix || char(1114111)
ORDER BY number;

-- name: insert_jobs
-- Stores the hot parts of new jobs.
INSERT INTO jobs (number, shape, stage, epoch, priority, sequence, created_at, changed_at, marks)
SELECT column1, column2, column3, 0, column4, 1, column5, column5, column6 FROM (VALUES ?) WHERE column1 > 0;

-- name: insert_specs
-- Stores what attempts of new jobs need.
INSERT INTO job_specs (number, id, product, pool, key, seats, parent, campaign, spec)
SELECT * FROM (VALUES ?) WHERE column1 > 0;

-- name: tell_beginnings
-- Writes the first lines of history.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT column1, 1, column5, 0, column3, NULL, NULL FROM (VALUES ?) WHERE column1 > 0;

-- name: assign_jobs
-- Gives queued jobs to sessions under new epochs.
UPDATE jobs
SET stage = 2, epoch = epoch + 1, session = column3, sequence = sequence + 1, changed_at = column4
FROM (VALUES ?)
WHERE number = column1 AND epoch = column2 AND stage = 1;

-- name: open_attempts
-- Opens the attempts of claims that were made.
INSERT INTO job_attempts (job, epoch, session, claimed_at)
SELECT column1, column2 + 1, column3, column4 FROM (VALUES ?) WHERE column1 > 0;

-- name: tell_claims
-- Writes the lines of history that claims have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT number, sequence, changed_at, epoch, 2, 1, nullif(column5, '')
FROM (VALUES ?) CROSS JOIN jobs ON number = column1;

-- name: ship_jobs
-- Ships held jobs whose attempts have succeeded.
UPDATE jobs
SET stage = 6, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = column3
FROM (VALUES ?)
WHERE number = column1 AND epoch = column2 AND stage = column10;

-- name: end_attempts
-- Keeps how attempts ended.
UPDATE job_attempts
SET ended_at = column3, outcome = column4, detail = column5, exit_code = column6, metrics = column7, seconds = column8,
    peak_memory_mb = column9
FROM (VALUES ?)
WHERE job = column1 AND epoch = column2 AND ended_at IS NULL;

-- name: tell_endings
-- Writes the lines of history that successes have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT number, sequence, changed_at, epoch, 6, column10, NULL
FROM (VALUES ?) CROSS JOIN jobs ON number = column1;

-- name: handed_jobs
-- Reads what factories are handed.
SELECT job_specs.number, job_specs.id, product, job_specs.key, spec
FROM (VALUES ?) CROSS JOIN job_specs ON job_specs.number = column1;

-- name: jobs_by_keys
-- Finds the jobs that some idempotency keys stand for.
SELECT job_rows.* FROM (VALUES ?)
CROSS JOIN job_rows ON job_rows.product = column1 AND job_rows.key = column2
WHERE column1 <> 0;
