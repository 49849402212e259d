-- name: jobs_with_prefix
-- Lists the jobs whose key starts with a prefix, oldest first.
-- The range relies on keys being compared byte by byte.
SELECT * FROM job_rows
WHERE product = :product AND key >= :prefix AND key < :prefix || char(1114111)
ORDER BY number;

-- name: insert_jobs
-- Stores the hot parts of new jobs.
INSERT INTO jobs (number, shape, stage, epoch, priority, sequence, created_at, changed_at, marks)
VALUES (?1, ?2, ?3, 0, ?4, 1, ?5, ?5, ?6);

-- name: insert_specs
-- Stores what attempts of new jobs need.
INSERT INTO job_specs (number, id, product, pool, key, seats, parent, campaign, digest, spec)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10);

-- name: tell_beginnings
-- Writes the first lines of history.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why) VALUES (?1, 1, ?2, 0, ?3, NULL, NULL);

-- name: assign_jobs
-- Gives queued jobs to sessions under new epochs.
UPDATE jobs
SET stage = 2, epoch = epoch + 1, session = ?3, sequence = sequence + 1, changed_at = ?4
WHERE number = ?1 AND epoch = ?2 AND stage = 1;

-- name: open_attempts
-- Opens the attempts of claims that were made.
INSERT INTO job_attempts (job, epoch, session, claimed_at) VALUES (?1, ?2, ?3, ?4);

-- name: tell_moves
-- Writes the lines of history that moves just made have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT number, sequence, changed_at, epoch, stage, ?2, ?3 FROM jobs WHERE number = ?1;

-- name: ship_jobs
-- Ships held jobs whose attempts have succeeded.
UPDATE jobs
SET stage = 6, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = ?4
WHERE number = ?1 AND epoch = ?2 AND stage = ?3;

-- name: end_attempts
-- Keeps how attempts ended.
UPDATE job_attempts
SET ended_at = ?3, outcome = ?4, detail = ?5, exit_code = ?6, metrics = ?7, seconds = ?8, peak_memory_mb = ?9
WHERE job = ?1 AND epoch = ?2 AND ended_at IS NULL;
