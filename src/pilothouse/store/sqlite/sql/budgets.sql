-- name: reserve
-- Keeps what claimed attempts may use.
INSERT INTO ledger (job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens)
SELECT * FROM (VALUES ?) WHERE column1 > 0;
