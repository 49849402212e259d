-- name: stand
-- Fails, and with it everything behind it in the same flight, when this server leads no more.
SELECT 1 / count(*) AS stands FROM leader WHERE holder <> '' AND epoch = %s::bigint;

-- name: assign
-- Gives queued jobs to sessions under new epochs, opens their attempts, tells it, and returns what factories are handed.
WITH moved AS (
    UPDATE jobs
    SET stage = 2, epoch = jobs.epoch + 1, session = batch.session, sequence = sequence + 1, changed_at = %s::bigint
    FROM unnest(%s::bigint[], %s::integer[], %s::bigint[]) AS batch (number, epoch, session)
    WHERE jobs.number = batch.number AND jobs.epoch = batch.epoch AND jobs.stage = 1
    RETURNING jobs.number, jobs.epoch, jobs.session, jobs.sequence, jobs.changed_at
), opened AS (
    INSERT INTO job_attempts (job, epoch, session, claimed_at)
    SELECT number, epoch, session, changed_at FROM moved
), told AS (
    INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
    SELECT number, sequence, changed_at, epoch, 2, 1, NULL FROM moved
)
SELECT job_specs.number, id, product, key, spec FROM moved JOIN job_specs ON job_specs.number = moved.number;

-- name: ship
-- Ships held jobs whose attempts have succeeded, ends these, tells it, and returns the numbers of the jobs.
WITH moved AS (
    UPDATE jobs SET stage = 6, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = %s::bigint
    FROM unnest(
        %s::bigint[], %s::integer[], %s::smallint[], %s::smallint[], %s::text[], %s::bigint[], %s::text[],
        %s::double precision[], %s::double precision[]
    ) AS batch (number, epoch, stage, outcome, detail, exit_code, metrics, seconds, peak_memory_mb)
    WHERE jobs.number = batch.number AND jobs.epoch = batch.epoch AND jobs.stage = batch.stage
    RETURNING batch.*, jobs.sequence, jobs.changed_at
), ended AS (
    UPDATE job_attempts
    SET ended_at = moved.changed_at, outcome = moved.outcome, detail = moved.detail, exit_code = moved.exit_code,
        metrics = moved.metrics, seconds = moved.seconds, peak_memory_mb = moved.peak_memory_mb
    FROM moved
    WHERE job_attempts.job = moved.number AND job_attempts.epoch = moved.epoch AND job_attempts.ended_at IS NULL
), told AS (
    INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
    SELECT number, sequence, changed_at, epoch, 6, stage, NULL FROM moved
)
SELECT number FROM moved;
