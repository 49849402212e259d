-- name: shape_by_digest
-- Finds a scheduling class.
SELECT number FROM job_shapes WHERE digest = :digest;

-- name: last_shape
-- Finds the highest number of a shape.
SELECT coalesce(max(number), 0) AS number FROM job_shapes;

-- name: insert_shape
-- Stores a scheduling class.
INSERT INTO job_shapes (number, digest, product, pool, seats, shape)
VALUES (:number, :digest, :product, :pool, :seats, :shape);

-- name: all_shapes
-- Lists the scheduling classes.
SELECT number, shape FROM job_shapes ORDER BY number;

-- name: shape_by_number
-- Finds one scheduling class by its number.
SELECT number, shape FROM job_shapes WHERE number = :number;

-- name: last_job
-- Finds the highest number of a job.
SELECT coalesce(max(number), 0) AS number FROM jobs;

-- name: job_by_id
-- Finds one job.
SELECT * FROM job_rows WHERE id = :job;

-- name: job_by_number
-- Finds one job by its number.
SELECT * FROM job_rows WHERE number = :number;

-- name: job_by_key
-- Finds the job that an idempotency key stands for.
SELECT * FROM job_rows WHERE product = :product AND key = :key;

-- name: spec_of_job
-- Reads what was stored once with the job.
SELECT spec FROM job_specs WHERE id = :job;

-- name: newest_jobs
-- Lists the newest jobs of a product, from a number on downwards.
SELECT * FROM job_rows
WHERE product = :product AND number < :before
    AND (:stage < 0 OR stage = :stage) AND (:priority < 0 OR priority = :priority)
ORDER BY number DESC
LIMIT :limit;

-- name: newest_jobs_of_campaign
-- Lists the newest jobs of one campaign, from a number on downwards.
SELECT * FROM job_rows
WHERE product = :product AND campaign = :campaign AND number < :before
    AND (:stage < 0 OR stage = :stage) AND (:priority < 0 OR priority = :priority)
ORDER BY number DESC
LIMIT :limit;

-- name: ready_jobs
-- Scans the whole table for what may be claimed; only the start of an engine asks.
SELECT number, shape, priority, created_at, epoch, marks, preemptions FROM jobs WHERE stage = 1;

-- name: leased_jobs
-- Scans the whole table for what somebody holds.
SELECT * FROM job_rows WHERE stage IN (2, 3) ORDER BY number;

-- name: count_stages
-- Counts the jobs of each product in each stage.
SELECT job_shapes.product, jobs.stage, count(*) AS jobs
FROM jobs JOIN job_shapes ON job_shapes.number = jobs.shape
GROUP BY job_shapes.product, jobs.stage;

-- name: tell
-- Writes the line of history that a move just made has earned; the line before it knows where the job came from.
INSERT INTO job_events (job, sequence, at, epoch, stage, previous, why)
SELECT jobs.number, jobs.sequence, jobs.changed_at, jobs.epoch, jobs.stage, before.stage, :why
FROM jobs JOIN job_events AS before ON before.job = jobs.number AND before.sequence = jobs.sequence - 1
WHERE jobs.number = :number;

-- name: assign_job
-- Gives a queued job to a session under a new epoch.
UPDATE jobs
SET stage = 2, epoch = epoch + 1, session = :session, sequence = sequence + 1, changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage = 1;

-- name: ship_job
-- Ships a held job whose attempt has succeeded.
UPDATE jobs
SET stage = 6, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage = :stage;

-- name: start_job
-- Moves an assigned job to building.
UPDATE jobs SET stage = 3, sequence = sequence + 1, changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage = 2;

-- name: start_attempt
-- Keeps which process runs the attempt.
UPDATE job_attempts SET started_at = :now, pid = :pid, pid_started = :pid_started
WHERE job = :number AND epoch = :epoch;

-- name: observe_attempt
-- Keeps the last sign of life of an attempt that has not ended.
UPDATE job_attempts SET progress = :progress, progress_at = :now
WHERE job = :number AND epoch = :epoch AND ended_at IS NULL;

-- name: ask_to_stop
-- Keeps until when a held job may checkpoint; the first word stays.
UPDATE jobs SET stop_at = :stop_at, sequence = sequence + 1, changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage IN (2, 3) AND stop_at IS NULL;

-- name: finish_job
-- Takes the job from its holder to the given stage.
UPDATE jobs
SET stage = :stage, epoch = epoch + :step, session = NULL, stop_at = NULL, sequence = sequence + 1,
    failures = failures + :failures, preemptions = preemptions + :preemptions, losses = losses + :losses,
    changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage IN (2, 3);

-- name: move_job
-- Moves a job that nobody holds.
UPDATE jobs SET stage = :stage, epoch = epoch + :step, sequence = sequence + 1, changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage = :previous AND stage NOT IN (2, 3);

-- name: cancel_job
-- Takes a job away from whoever holds it, under a new epoch, so that its holder is fenced.
UPDATE jobs
SET stage = :stage, epoch = epoch + 1, session = NULL, stop_at = NULL, sequence = sequence + 1, changed_at = :now
WHERE number = :number AND epoch = :epoch AND stage < 6;

-- name: end_attempt
-- Keeps how the attempt ended; one that has ended keeps its first report.
UPDATE job_attempts
SET ended_at = :now, outcome = :outcome, detail = :detail, exit_code = :exit_code, metrics = :metrics,
    seconds = :seconds, peak_memory_mb = :peak_memory_mb
WHERE job = :number AND epoch = :epoch AND ended_at IS NULL;

-- name: attempts_of_job
-- Lists the attempts by epoch.
SELECT job_attempts.*, job_specs.id, sessions.factory, sessions.boot
FROM job_attempts
JOIN job_specs ON job_specs.number = job_attempts.job
JOIN sessions ON sessions.number = job_attempts.session
WHERE job_specs.id = :job
ORDER BY job_attempts.epoch;

-- name: attempt_of_epoch
-- Finds one attempt.
SELECT job_attempts.*, job_specs.id, sessions.factory, sessions.boot
FROM job_attempts
JOIN job_specs ON job_specs.number = job_attempts.job
JOIN sessions ON sessions.number = job_attempts.session
WHERE job_specs.id = :job AND job_attempts.epoch = :epoch;

-- name: events_of_job
-- Lists the history in its order.
SELECT job_events.*, job_specs.id FROM job_events JOIN job_specs ON job_specs.number = job_events.job
WHERE job_specs.id = :job
ORDER BY job_events.sequence;

-- name: insert_artifact
-- Keeps a sealed folder of the attempt.
INSERT INTO job_artifacts (job, epoch, position, product, name, digest, size_bytes, meta)
VALUES (:number, :epoch, :position, :product, :name, :digest, :size_bytes, :meta);

-- name: artifacts_of_job
-- Lists what the successful attempt sealed and nobody has found damaged.
SELECT job_artifacts.* FROM job_artifacts
JOIN job_specs ON job_specs.number = job_artifacts.job
JOIN jobs ON jobs.number = job_artifacts.job
WHERE job_specs.id = :job AND jobs.stage IN (4, 5, 6) AND job_artifacts.damaged_at IS NULL
    AND job_artifacts.epoch = (
        SELECT max(epoch) FROM job_attempts WHERE job_attempts.job = job_artifacts.job AND outcome = 0
    )
ORDER BY job_artifacts.position;

-- name: mark_damaged
-- Marks a sealed folder wherever it was published; the first mark stays.
UPDATE job_artifacts SET damaged_at = coalesce(damaged_at, :now)
WHERE product = :product AND digest = :digest;

-- name: makers_of_artifact
-- Lists the jobs that sealed a folder with this digest, oldest first.
SELECT DISTINCT job_specs.number, job_specs.id
FROM job_artifacts JOIN job_specs ON job_specs.number = job_artifacts.job
WHERE job_artifacts.product = :product AND job_artifacts.digest = :digest
ORDER BY job_specs.number;

-- name: intact_artifact
-- Finds one shipped job whose sealed folder of this digest nobody has found damaged.
SELECT 1 AS found FROM job_artifacts
JOIN jobs ON jobs.number = job_artifacts.job
WHERE job_artifacts.product = :product AND job_artifacts.digest = :digest
    AND job_artifacts.damaged_at IS NULL AND jobs.stage = 6
    AND job_artifacts.epoch = (
        SELECT max(epoch) FROM job_attempts WHERE job_attempts.job = job_artifacts.job AND outcome = 0
    )
LIMIT 1;

-- name: seconds_spent
-- Sums the seconds of every ended attempt of a campaign, times the seats it held.
SELECT coalesce(sum(job_attempts.seconds * job_specs.seats), 0.0) AS seconds
FROM job_specs
JOIN job_attempts ON job_attempts.job = job_specs.number
WHERE job_specs.product = :product AND job_specs.campaign = :campaign AND job_attempts.ended_at IS NOT NULL;

-- name: insert_edge
-- Keeps who waits for whom.
INSERT INTO job_edges (job, needs, kind) VALUES (:job, :needs, :kind);

-- name: count_waiting
-- Adds to what a job waits for.
UPDATE jobs SET waiting = waiting + 1 WHERE number = :job;

-- name: mark_job
-- Sets a mark on a job that has not ended.
UPDATE jobs SET marks = marks | :mark WHERE number = :number AND stage < 6 AND (marks & :mark) = 0;

-- name: edges_of_job
-- Lists every edge that touches a job.
SELECT job, needs, kind, met FROM job_edges WHERE job = :number
UNION ALL
SELECT job, needs, kind, met FROM job_edges WHERE needs = :number
ORDER BY job, needs;

-- name: meet_edge
-- Marks an edge as met, once.
UPDATE job_edges SET met = 1 WHERE job = :job AND needs = :needs AND met = 0;

-- name: wait_less
-- Counts one thing less to wait for; a job that has ended meanwhile waits for nothing.
UPDATE jobs SET waiting = waiting - 1 WHERE number = :job AND waiting > 0 AND stage < 6;

-- name: children_of_job
-- Lists the children by number.
SELECT * FROM job_rows WHERE parent = :number ORDER BY number;

-- name: reviews_of_epoch
-- Lists the decisions on one attempt, oldest first.
SELECT * FROM job_reviews WHERE job = :number AND epoch = :epoch ORDER BY at, reviewer;

-- name: keep_review
-- Keeps a reviewer's decision; the last one counts.
INSERT INTO job_reviews (job, epoch, reviewer, approved, reason, at)
VALUES (:number, :epoch, :reviewer, :approved, :reason, :at)
ON CONFLICT (job, epoch, reviewer) DO UPDATE
SET approved = excluded.approved, reason = excluded.reason, at = excluded.at;
