-- name: insert_job
-- Stores the hot part of a new job.
INSERT INTO jobs (id, product, pool, key, stage, epoch, priority, seats, created_at, changed_at)
VALUES (:id, :product, :pool, :key, :stage, 0, :priority, :seats, :now, :now);

-- name: insert_spec
-- Stores what an attempt of the job needs.
INSERT INTO job_specs (job, product, campaign, digest, spec)
VALUES (:job, :product, :campaign, :digest, :spec);

-- name: job_by_id
-- Finds one job.
SELECT * FROM jobs WHERE id = :job;

-- name: job_by_key
-- Finds the job that an idempotency key stands for.
SELECT * FROM jobs WHERE product = :product AND key = :key;

-- name: jobs_with_prefix
-- Lists the jobs whose key starts with a prefix, oldest first.
-- Differs from Postgres: the range relies on keys being compared byte by byte.
SELECT * FROM jobs
WHERE product = :product AND key >= :prefix AND key < :prefix || char(1114111)
ORDER BY number;

-- name: spec_of_job
-- Reads what was stored once with the job.
SELECT spec FROM job_specs WHERE job = :job;

-- name: newest_jobs
-- Lists the newest jobs of a product.
SELECT * FROM jobs WHERE product = :product ORDER BY number DESC LIMIT :limit;

-- name: newest_jobs_of_campaign
-- Lists the newest jobs of one campaign; specs are numbered in the order of their jobs.
SELECT jobs.* FROM job_specs JOIN jobs ON jobs.id = job_specs.job
WHERE job_specs.product = :product AND job_specs.campaign = :campaign
ORDER BY job_specs.number DESC
LIMIT :limit;

-- name: queued_jobs
-- Scans the whole table for what may be claimed; only the start of an engine asks.
SELECT * FROM jobs WHERE stage = 'queued' ORDER BY number;

-- name: leased_jobs
-- Scans the whole table for what somebody holds.
SELECT * FROM jobs WHERE stage IN ('assigned', 'building') ORDER BY number;

-- name: assign_job
-- Gives a queued job to a factory under a new epoch.
UPDATE jobs
SET stage = 'assigned', epoch = epoch + 1, factory = :factory, boot = :boot, lease_expires_at = :expires,
    changed_at = :now
WHERE id = :job AND epoch = :epoch AND stage = 'queued';

-- name: open_attempt
-- Opens the attempt of the job's present epoch.
INSERT INTO job_attempts (job, epoch, product, factory, boot, folder, claimed_at)
SELECT id, epoch, product, factory, boot, :folder, :now FROM jobs WHERE id = :job;

-- name: start_job
-- Moves an assigned job to building.
UPDATE jobs SET stage = 'building', changed_at = :now
WHERE id = :job AND epoch = :epoch AND stage = 'assigned';

-- name: start_attempt
-- Keeps which process runs the attempt.
UPDATE job_attempts SET started_at = :now, pid = :pid, pid_started = :pid_started
WHERE job = :job AND epoch = :epoch;

-- name: renew_lease
-- Extends a lease that is still the current one.
UPDATE jobs SET lease_expires_at = :expires
WHERE id = :job AND epoch = :epoch AND stage IN ('assigned', 'building');

-- name: observe_attempt
-- Keeps the last sign of life of an attempt that has not ended.
UPDATE job_attempts SET progress = :progress, progress_at = :now
WHERE job = :job AND epoch = :epoch AND ended_at IS NULL;

-- name: finish_job
-- Takes the job from its holder to the given stage; back in the queue, or cancelled, it stands under a new epoch.
UPDATE jobs
SET stage = :stage, epoch = epoch + (:stage IN ('queued', 'cancelled')), factory = NULL, boot = NULL, lease_expires_at = NULL,
    failures = failures + :failures, preemptions = preemptions + :preemptions, losses = losses + :losses,
    changed_at = :now
WHERE id = :job AND epoch = :epoch AND stage IN ('assigned', 'building', 'review', 'testing');

-- name: end_attempt
-- Keeps how the attempt ended; one that has ended keeps its first report.
UPDATE job_attempts
SET ended_at = :now, outcome = :outcome, detail = :detail, exit_code = :exit_code, metrics = :metrics,
    seconds = :seconds, peak_memory_mb = :peak_memory_mb
WHERE job = :job AND epoch = :epoch AND ended_at IS NULL;

-- name: insert_artifact
-- Keeps a sealed folder of the attempt.
INSERT INTO job_artifacts (job, epoch, position, product, name, digest, size_bytes, meta)
SELECT job, epoch, :position, product, :name, :digest, :size_bytes, :meta
FROM job_attempts
WHERE job = :job AND epoch = :epoch;

-- name: cancel_job
-- Ends a job that has not ended, under a new epoch, so that its holder is fenced.
UPDATE jobs
SET stage = 'cancelled', epoch = epoch + 1, factory = NULL, boot = NULL, lease_expires_at = NULL, changed_at = :now
WHERE id = :job AND epoch = :epoch AND stage NOT IN ('shipped', 'failed', 'cancelled', 'dead_letter');

-- name: cancel_attempt
-- Ends the attempt that ran under the epoch which the cancellation replaced.
UPDATE job_attempts
SET ended_at = :now, outcome = 'cancelled', detail = 'the job was cancelled',
    seconds = max(0.0, (:now - claimed_at) / 1000000.0)
WHERE job = :job AND epoch = :epoch AND ended_at IS NULL;

-- name: attempts_of_job
-- Lists the attempts by epoch.
SELECT * FROM job_attempts WHERE job = :job ORDER BY epoch;

-- name: attempt_of_epoch
-- Finds one attempt.
SELECT * FROM job_attempts WHERE job = :job AND epoch = :epoch;

-- name: events_of_job
-- Lists the history in its order.
SELECT * FROM job_events WHERE job = :job ORDER BY sequence;

-- name: artifacts_of_job
-- Lists what the shipped attempt sealed and nobody has found damaged.
SELECT job_artifacts.* FROM job_artifacts
JOIN jobs ON jobs.id = job_artifacts.job AND jobs.epoch = job_artifacts.epoch
WHERE jobs.id = :job AND jobs.stage = 'shipped' AND job_artifacts.damaged_at IS NULL
ORDER BY job_artifacts.position;

-- name: mark_damaged
-- Marks a sealed folder wherever it was published; the first mark stays.
UPDATE job_artifacts SET damaged_at = coalesce(damaged_at, :now)
WHERE product = :product AND digest = :digest;

-- name: makers_of_artifact
-- Lists the jobs that sealed a folder with this digest, oldest first.
SELECT DISTINCT jobs.number, jobs.id FROM job_artifacts JOIN jobs ON jobs.id = job_artifacts.job
WHERE job_artifacts.product = :product AND job_artifacts.digest = :digest
ORDER BY jobs.number;

-- name: intact_artifact
-- Finds one shipped job whose sealed folder of this digest nobody has found damaged.
SELECT 1 FROM job_artifacts
JOIN jobs ON jobs.id = job_artifacts.job AND jobs.epoch = job_artifacts.epoch
WHERE job_artifacts.product = :product AND job_artifacts.digest = :digest
    AND job_artifacts.damaged_at IS NULL AND jobs.stage = 'shipped'
LIMIT 1;

-- name: seconds_spent
-- Sums the seconds of every ended attempt of a campaign, times the seats it held.
SELECT coalesce(sum(job_attempts.seconds * jobs.seats), 0.0) AS seconds
FROM job_specs
JOIN jobs ON jobs.id = job_specs.job
JOIN job_attempts ON job_attempts.job = job_specs.job
WHERE job_specs.product = :product AND job_specs.campaign = :campaign AND job_attempts.ended_at IS NOT NULL;
