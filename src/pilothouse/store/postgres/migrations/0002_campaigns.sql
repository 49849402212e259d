-- Campaigns and what their loops decide from.

CREATE TABLE campaigns (
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    kind text COLLATE "C" NOT NULL,
    definition text COLLATE "C" NOT NULL,
    definition_digest text COLLATE "C" NOT NULL,
    config text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    owner_host text COLLATE "C",
    owner_pid bigint,
    owner_started double precision,
    owner_boot text COLLATE "C",
    halt text COLLATE "C" CHECK (halt IN ('failed', 'done')),
    last_error text COLLATE "C" NOT NULL,
    next_action text COLLATE "C" NOT NULL,
    PRIMARY KEY (product, name),
    CHECK ((owner_host IS NULL) = (owner_pid IS NULL)),
    CHECK ((owner_host IS NULL) = (owner_started IS NULL)),
    CHECK ((owner_host IS NULL) = (owner_boot IS NULL))
);

CREATE TABLE trials (
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    number bigint NOT NULL CHECK (number >= 0),
    proposal text COLLATE "C",
    config text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('running', 'confirming', 'judged')),
    started_at bigint NOT NULL,
    ended_at bigint,
    verdict text COLLATE "C",
    metrics text COLLATE "C" NOT NULL,
    seconds text COLLATE "C" NOT NULL,
    confirmation text COLLATE "C",
    failure text COLLATE "C" NOT NULL,
    PRIMARY KEY (product, campaign, number),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE TABLE runs (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    trial bigint NOT NULL,
    seed bigint NOT NULL,
    job text COLLATE "C" NOT NULL REFERENCES job_specs (id),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE INDEX runs_of_campaign ON runs (product, campaign);

CREATE TABLE promotions (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    trial bigint NOT NULL,
    checkpoint text COLLATE "C",
    samples text COLLATE "C",
    config text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE INDEX promotions_of_campaign ON promotions (product, campaign);

CREATE TABLE golden_sets (
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    looks bigint NOT NULL CHECK (looks >= 0),
    published double precision,
    PRIMARY KEY (product, campaign, name),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE TABLE incidents (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL REFERENCES job_specs (id),
    epoch bigint NOT NULL,
    at bigint NOT NULL,
    diagnosis text COLLATE "C" NOT NULL,
    evidence text COLLATE "C" NOT NULL,
    response text COLLATE "C" NOT NULL,
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE INDEX incidents_of_campaign ON incidents (product, campaign);

CREATE TRIGGER promotions_are_never_changed BEFORE UPDATE ON promotions FOR EACH ROW
EXECUTE FUNCTION refuse('a promotion is never changed; a rollback is another promotion');

CREATE TRIGGER promotions_are_never_deleted BEFORE DELETE ON promotions FOR EACH ROW
EXECUTE FUNCTION refuse('a promotion is never deleted; a rollback is another promotion');

CREATE TRIGGER promotions_are_never_emptied BEFORE TRUNCATE ON promotions FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a promotion is never deleted; a rollback is another promotion');

CREATE TRIGGER golden_sets_stay_locked BEFORE UPDATE ON golden_sets FOR EACH ROW
WHEN (NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.name <> OLD.name
    OR NEW.digest <> OLD.digest OR NEW.looks < OLD.looks)
EXECUTE FUNCTION refuse('a golden set keeps its digest, and its looks only grow');
