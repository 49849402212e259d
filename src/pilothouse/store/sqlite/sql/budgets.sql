-- name: reserve
-- Keeps what claimed attempts may use.
INSERT INTO ledger (job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);
