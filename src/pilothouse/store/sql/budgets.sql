-- name: put_budget
-- Stores a budget, or replaces the ceilings, window and enforcement of one that exists.
INSERT INTO budgets (
    product, engine, usd, gpu_hours, tokens, window_seconds, enforced, paused_by, paused_why, paused_at
)
VALUES (
    :product, :engine, :usd, :gpu_hours, :tokens, :window_seconds, :enforced, :paused_by, :paused_why, :paused_at
)
ON CONFLICT (product, engine) DO UPDATE SET
    usd = excluded.usd,
    gpu_hours = excluded.gpu_hours,
    tokens = excluded.tokens,
    window_seconds = excluded.window_seconds,
    enforced = excluded.enforced;

-- name: budget_by_engine
-- Finds one budget.
SELECT * FROM budgets WHERE product = :product AND engine = :engine;

-- name: budgets_of_product
-- Lists the budgets of a product.
SELECT * FROM budgets WHERE product = :product ORDER BY engine;

-- name: all_budgets
-- Lists the budgets of every product.
SELECT * FROM budgets ORDER BY product, engine;

-- name: pause_budget
-- Keeps who has paused a budget, or takes the pause away.
UPDATE budgets SET paused_by = :paused_by, paused_why = :paused_why, paused_at = :paused_at
WHERE product = :product AND engine = :engine;

-- name: settle
-- Keeps what an attempt has used; a figure that nobody knows counts as it was reserved.
UPDATE ledger
SET settled_at = :now,
    spent_usd = coalesce(:usd, usd),
    spent_gpu_hours = coalesce(:gpu_hours, gpu_hours),
    spent_tokens = coalesce(:tokens, tokens)
WHERE job = :job AND epoch = :epoch AND settled_at IS NULL;

-- name: settled
-- Reads what an attempt had reserved and has spent.
SELECT job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens, spent_usd, spent_gpu_hours, spent_tokens
FROM ledger
WHERE job = :job AND epoch = :epoch;

-- name: unsettled
-- Lists what attempts have reserved and not settled.
SELECT job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens
FROM ledger
WHERE settled_at IS NULL
ORDER BY job, epoch;

-- name: balances
-- Adds up what attempts claimed since a time have reserved and spent; product '' is every product.
-- Wholes and the millionths beside them are added apart, so that no sum leaves 64 bits.
SELECT product, engine, settled,
    sum(usd / 1000000) AS usd,
    sum(usd - usd / 1000000 * 1000000) AS usd_rest,
    sum(gpu_hours / 1000000) AS gpu_hours,
    sum(gpu_hours - gpu_hours / 1000000 * 1000000) AS gpu_hours_rest,
    sum(tokens / 1000000) AS tokens,
    sum(tokens - tokens / 1000000 * 1000000) AS tokens_rest
FROM (
    SELECT product, engine,
        CASE WHEN settled_at IS NULL THEN 0 ELSE 1 END AS settled,
        coalesce(spent_usd, usd, 0) AS usd,
        coalesce(spent_gpu_hours, gpu_hours, 0) AS gpu_hours,
        coalesce(spent_tokens, tokens, 0) AS tokens
    FROM ledger
    WHERE reserved_at >= :since AND (:product = '' OR product = :product)
) AS lines
GROUP BY product, engine, settled
ORDER BY product, engine, settled;
