-- name: jobs_with_prefix
-- Lists the jobs whose key starts with a prefix, oldest first.
-- The range relies on keys being compared byte by byte.
SELECT * FROM job_rows
WHERE product = :product AND key >= :prefix AND key < :prefix || chr(1114111)
ORDER BY number;

-- name: insert_jobs
-- Stores the hot parts of new jobs.
INSERT INTO jobs (number, shape, stage, epoch, priority, sequence, created_at, changed_at, marks)
SELECT number, shape, stage, 0, priority, 1, now, now, marks
FROM unnest(%s::bigint[], %s::integer[], %s::smallint[], %s::smallint[], %s::bigint[], %s::integer[])
    AS batch (number, shape, stage, priority, now, marks);

-- name: insert_specs
-- Stores what attempts of new jobs need.
INSERT INTO job_specs (number, id, product, pool, key, seats, parent, campaign, spec)
SELECT * FROM unnest(
    %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[]
);

-- name: tell_beginnings
-- Writes the first lines of history.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT number, 1, now, 0, stage, NULL, NULL
FROM unnest(%s::bigint[], %s::integer[], %s::smallint[], %s::smallint[], %s::bigint[], %s::integer[])
    AS batch (number, shape, stage, priority, now, marks);

-- name: assign_jobs
-- Gives queued jobs to sessions under new epochs.
UPDATE jobs
SET stage = 2, epoch = jobs.epoch + 1, session = batch.session, sequence = sequence + 1, changed_at = batch.now
FROM unnest(%s::bigint[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[])
    AS batch (number, epoch, session, now, why)
WHERE jobs.number = batch.number AND jobs.epoch = batch.epoch AND jobs.stage = 1;

-- name: open_attempts
-- Opens the attempts of claims that were made.
INSERT INTO job_attempts (job, epoch, session, claimed_at)
SELECT number, epoch + 1, session, now
FROM unnest(%s::bigint[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[])
    AS batch (number, epoch, session, now, why);

-- name: tell_claims
-- Writes the lines of history that claims have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT jobs.number, jobs.sequence, jobs.changed_at, jobs.epoch, 2, 1, nullif(batch.why, '')
FROM unnest(%s::bigint[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[])
    AS batch (number, epoch, session, now, why)
JOIN jobs ON jobs.number = batch.number;

-- name: ship_jobs
-- Ships held jobs whose attempts have succeeded.
UPDATE jobs
SET stage = 6, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = batch.now
FROM unnest(
    %s::bigint[], %s::integer[], %s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::text[],
    %s::double precision[], %s::double precision[], %s::smallint[]
) AS batch (number, epoch, now, outcome, detail, exit_code, metrics, seconds, peak_memory_mb, stage)
WHERE jobs.number = batch.number AND jobs.epoch = batch.epoch AND jobs.stage = batch.stage;

-- name: end_attempts
-- Keeps how attempts ended.
UPDATE job_attempts
SET ended_at = batch.now, outcome = batch.outcome, detail = batch.detail, exit_code = batch.exit_code,
    metrics = batch.metrics, seconds = batch.seconds, peak_memory_mb = batch.peak_memory_mb
FROM unnest(
    %s::bigint[], %s::integer[], %s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::text[],
    %s::double precision[], %s::double precision[], %s::smallint[]
) AS batch (number, epoch, now, outcome, detail, exit_code, metrics, seconds, peak_memory_mb, stage)
WHERE job_attempts.job = batch.number AND job_attempts.epoch = batch.epoch AND job_attempts.ended_at IS NULL;

-- name: tell_endings
-- Writes the lines of history that successes have earned.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT jobs.number, jobs.sequence, jobs.changed_at, jobs.epoch, 6, batch.stage, NULL
FROM unnest(
    %s::bigint[], %s::integer[], %s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::text[],
    %s::double precision[], %s::double precision[], %s::smallint[]
) AS batch (number, epoch, now, outcome, detail, exit_code, metrics, seconds, peak_memory_mb, stage)
JOIN jobs ON jobs.number = batch.number;

-- name: handed_jobs
-- Reads what factories are handed.
SELECT job_specs.number, id, product, key, spec
FROM unnest(%s::bigint[]) AS batch (number) JOIN job_specs ON job_specs.number = batch.number;

-- name: jobs_by_keys
-- Finds the jobs that some idempotency keys stand for.
SELECT job_rows.* FROM unnest(%s::text[], %s::text[]) AS batch (product, key)
JOIN job_rows ON job_rows.product = batch.product AND job_rows.key = batch.key;
