-- name: put_ferry
-- Stores a ferry, or what has become of it.
INSERT INTO ferries (
    product, campaign, number, run, tick, drafted_at, considered, judged, closed_at, seal
)
VALUES (
    :product, :campaign, :number, :run, :tick, :drafted_at, :considered, :judged, :closed_at, :seal
)
ON CONFLICT (product, campaign, number) DO UPDATE SET
    run = excluded.run,
    tick = excluded.tick,
    drafted_at = excluded.drafted_at,
    considered = excluded.considered,
    judged = excluded.judged,
    closed_at = excluded.closed_at,
    seal = excluded.seal;

-- name: ferries_of_campaign
-- Lists the ferries by number, from a least one on.
SELECT * FROM ferries WHERE product = :product AND campaign = :name AND number >= :least ORDER BY number;

-- name: ferry_by_run
-- Finds the ferry of a run.
SELECT * FROM ferries WHERE product = :product AND run = :run;

-- name: put_monitor
-- Stores who watches a run, and what was seen of it.
INSERT INTO monitors (
    product, run, owner, taken_at, looked_at, moved_at, looks, state, step, total, detail
)
VALUES (
    :product, :run, :owner, :taken_at, :looked_at, :moved_at, :looks, :state, :step, :total, :detail
)
ON CONFLICT (product, run) DO UPDATE SET
    owner = excluded.owner,
    taken_at = excluded.taken_at,
    looked_at = excluded.looked_at,
    moved_at = excluded.moved_at,
    looks = excluded.looks,
    state = excluded.state,
    step = excluded.step,
    total = excluded.total,
    detail = excluded.detail;

-- name: monitor_of_run
-- Finds who watches a run.
SELECT * FROM monitors WHERE product = :product AND run = :run;
