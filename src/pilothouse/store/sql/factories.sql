-- name: put_factory
-- Stores a factory, or replaces what one that exists offers, its price and its state.
INSERT INTO factories (product, name, capabilities, engines, seats, gpus, usd_per_hour, state, created_at)
VALUES (:product, :name, :capabilities, :engines, :seats, :gpus, :usd_per_hour, :state, :now)
ON CONFLICT (product, name) DO UPDATE SET
    capabilities = excluded.capabilities,
    engines = excluded.engines,
    seats = excluded.seats,
    gpus = excluded.gpus,
    usd_per_hour = excluded.usd_per_hour,
    state = excluded.state;

-- name: remove_factory
-- Deletes a factory; its sessions and attempts stay.
DELETE FROM factories WHERE product = :product AND name = :name;

-- name: factory_by_name
-- Finds one factory.
SELECT * FROM factories WHERE product = :product AND name = :name;

-- name: factories_of_product
-- Lists the factories of a product.
SELECT * FROM factories WHERE product = :product ORDER BY name;

-- name: all_factories
-- Lists the factories of every product.
SELECT * FROM factories ORDER BY product, name;

-- name: session_of_boot
-- Finds the session of one boot.
SELECT * FROM sessions WHERE product = :product AND factory = :factory AND boot = :boot;

-- name: last_session_number
-- Finds the highest number of a session.
SELECT coalesce(max(number), 0) AS number FROM sessions;

-- name: open_session
-- Stores the session of a boot that was not seen before.
INSERT INTO sessions (number, product, factory, boot, opened_at, beat_at, expires_at)
VALUES (:number, :product, :factory, :boot, :now, :now, :expires_at);

-- name: beat
-- Renews an open session; a clock that was set back shortens nothing that was promised.
UPDATE sessions
SET beat_at = :now,
    expires_at = CASE WHEN expires_at > :expires_at THEN expires_at ELSE :expires_at END
WHERE number = :number AND closed_at IS NULL;

-- name: close_session
-- Ends a session.
UPDATE sessions SET closed_at = :now, closed_why = :why WHERE number = :number AND closed_at IS NULL;

-- name: session_by_number
-- Finds one session.
SELECT * FROM sessions WHERE number = :number;

-- name: open_sessions
-- Lists the sessions that are open, oldest first.
SELECT * FROM sessions WHERE closed_at IS NULL ORDER BY number;

-- name: last_session_of_factory
-- Finds the newest session of a factory.
SELECT * FROM sessions WHERE product = :product AND factory = :factory ORDER BY number DESC LIMIT 1;
