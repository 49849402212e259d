-- name: take_lead
-- Takes the lead under a new epoch when nobody holds it any more, or when it was already ours.
-- SQLite has no clock of its own: it is the machine's.
UPDATE leader
SET holder = :holder, epoch = epoch + 1,
    expires_at = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + :microseconds
WHERE holder IN ('', :holder) OR expires_at <= CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER);

-- name: renew_lead
-- Extends the lead, if nobody else has taken it.
UPDATE leader SET expires_at = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + :microseconds
WHERE epoch = :epoch AND holder <> '';

-- name: leader
-- Tells who leads and for how long still.
SELECT holder, epoch, expires_at - CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) AS microseconds
FROM leader WHERE holder <> '';

-- name: await_writers
-- Waits for nobody: SQLite lets in one writer at a time.
SELECT 1 AS alone;

-- name: join_writers
-- Keeps nobody out: SQLite lets in one writer at a time.
SELECT 1 AS alone;
