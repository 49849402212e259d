-- name: reserve
-- Keeps what claimed attempts may use.
INSERT INTO ledger (job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens)
SELECT
    value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
FROM json_each(?1);
