-- name: await_writers
-- Waits until no transaction of a leader is open, and keeps new ones out until the lead is taken.
SELECT pg_advisory_xact_lock(7597694001) AS alone;

-- name: join_writers
-- Keeps the lead from being taken before this transaction has ended.
SELECT pg_advisory_xact_lock_shared(7597694001) AS together;

-- name: take_lead
-- Takes the lead under a new epoch when nobody holds it any more, or when it was already ours.
UPDATE leader
SET holder = :holder, epoch = epoch + 1,
    expires_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :microseconds
WHERE holder IN ('', :holder) OR expires_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: renew_lead
-- Extends the lead, if nobody else has taken it.
UPDATE leader SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :microseconds
WHERE epoch = :epoch AND holder <> '';

-- name: leader
-- Tells who leads and for how long still.
SELECT holder, epoch, expires_at - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS microseconds
FROM leader WHERE holder <> '';
