-- name: put_campaign
-- Stores a campaign; one that exists gets the new definition and keeps its config, owner and halt.
INSERT INTO campaigns (
    product, name, kind, definition, definition_digest, config, created_at,
    owner_host, owner_pid, owner_started, owner_boot, halt, last_error, next_action
)
VALUES (
    :product, :name, :kind, :definition, :definition_digest, :config, :created_at,
    :owner_host, :owner_pid, :owner_started, :owner_boot, :halt, :last_error, :next_action
)
ON CONFLICT (product, name) DO UPDATE
SET kind = excluded.kind, definition = excluded.definition, definition_digest = excluded.definition_digest;

-- name: campaign_by_name
-- Finds one campaign.
SELECT * FROM campaigns WHERE product = :product AND name = :name;

-- name: campaigns_of_product
-- Lists the campaigns by name.
SELECT * FROM campaigns WHERE product = :product ORDER BY name;

-- name: products_with_campaigns
-- Every product that has a campaign, by name.
SELECT DISTINCT product FROM campaigns ORDER BY product;

-- name: own_campaign
-- Keeps which process advances the campaign.
UPDATE campaigns
SET owner_host = :owner_host, owner_pid = :owner_pid, owner_started = :owner_started, owner_boot = :owner_boot
WHERE product = :product AND name = :name;

-- name: halt_campaign
-- Keeps why the loop stands still and what a person does next.
UPDATE campaigns SET halt = :halt, last_error = :last_error, next_action = :next_action
WHERE product = :product AND name = :name;

-- name: configure_campaign
-- Moves the config of the baseline.
UPDATE campaigns SET config = :config WHERE product = :product AND name = :name;

-- name: put_trial
-- Stores a trial, or what it has become.
INSERT INTO trials (
    product, campaign, number, proposal, config, state, started_at, ended_at, verdict, metrics, seconds, confirmation,
    failure
)
VALUES (
    :product, :campaign, :number, :proposal, :config, :state, :started_at, :ended_at, :verdict, :metrics, :seconds,
    :confirmation, :failure
)
ON CONFLICT (product, campaign, number) DO UPDATE
SET proposal = excluded.proposal, config = excluded.config, state = excluded.state,
    started_at = excluded.started_at, ended_at = excluded.ended_at, verdict = excluded.verdict,
    metrics = excluded.metrics, seconds = excluded.seconds, confirmation = excluded.confirmation,
    failure = excluded.failure;

-- name: trials_of_campaign
-- Lists the trials by number, from a least one on.
SELECT * FROM trials WHERE product = :product AND campaign = :name AND number >= :least ORDER BY number;

-- name: add_run
-- Stores one execution with one seed.
INSERT INTO runs (id, product, campaign, trial, seed, job)
VALUES (:id, :product, :campaign, :trial, :seed, :job);

-- name: newest_runs
-- Lists the newest runs of a product.
SELECT * FROM runs WHERE product = :product ORDER BY position DESC LIMIT :limit;

-- name: newest_runs_of_campaign
-- Lists the newest runs of one campaign.
SELECT * FROM runs WHERE product = :product AND campaign = :name ORDER BY position DESC LIMIT :limit;

-- name: add_promotion
-- Keeps a move of the baseline.
INSERT INTO promotions (product, campaign, trial, checkpoint, samples, config, reason, at)
VALUES (:product, :campaign, :trial, :checkpoint, :samples, :config, :reason, :at);

-- name: promotions_of_campaign
-- Lists the promotions, oldest first.
SELECT * FROM promotions WHERE product = :product AND campaign = :name ORDER BY position;

-- name: golden_sets_of_campaign
-- Lists the golden sets by name.
SELECT * FROM golden_sets WHERE product = :product AND campaign = :name ORDER BY name;

-- name: lock_golden_set
-- Locks a golden set unless it is locked already.
INSERT INTO golden_sets (product, campaign, name, digest, looks, published)
VALUES (:product, :campaign, :name, :digest, :looks, :published)
ON CONFLICT (product, campaign, name) DO NOTHING;

-- name: count_look
-- Counts one look at a golden set, and keeps the best score shown of it where there is a new one.
UPDATE golden_sets SET looks = looks + 1, published = coalesce(:published, published)
WHERE product = :product AND campaign = :campaign AND name = :name;

-- name: add_incident
-- Keeps a diagnosis with its evidence and the response.
INSERT INTO incidents (product, campaign, job, epoch, at, diagnosis, evidence, response)
VALUES (:product, :campaign, :job, :epoch, :at, :diagnosis, :evidence, :response);

-- name: incidents_of_campaign
-- Lists the incidents, oldest first.
SELECT * FROM incidents WHERE product = :product AND campaign = :name ORDER BY position;
