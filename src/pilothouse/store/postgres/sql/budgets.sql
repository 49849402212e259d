-- name: reserve
-- Keeps what claimed attempts may use.
INSERT INTO ledger (job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens)
SELECT * FROM unnest(
    %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]
);
