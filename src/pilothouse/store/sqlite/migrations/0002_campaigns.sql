-- Campaigns and what their loops decide from.

CREATE TABLE campaigns (
    product TEXT NOT NULL CHECK (product <> ''),
    name TEXT NOT NULL CHECK (name <> ''),
    kind TEXT NOT NULL,
    definition TEXT NOT NULL,
    definition_digest TEXT NOT NULL,
    config TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    owner_host TEXT,
    owner_pid INTEGER,
    owner_started REAL,
    owner_boot TEXT,
    halt TEXT CHECK (halt IN ('failed', 'done')),
    last_error TEXT NOT NULL,
    next_action TEXT NOT NULL,
    PRIMARY KEY (product, name),
    CHECK ((owner_host IS NULL) = (owner_pid IS NULL)),
    CHECK ((owner_host IS NULL) = (owner_started IS NULL)),
    CHECK ((owner_host IS NULL) = (owner_boot IS NULL))
) STRICT;

CREATE TABLE trials (
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 0),
    proposal TEXT,
    config TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'confirming', 'judged')),
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    verdict TEXT,
    metrics TEXT NOT NULL,
    seconds TEXT NOT NULL,
    confirmation TEXT,
    failure TEXT NOT NULL,
    PRIMARY KEY (product, campaign, number),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE TABLE runs (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    trial INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    job TEXT NOT NULL REFERENCES job_specs (id),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE INDEX runs_of_campaign ON runs (product, campaign);

CREATE TABLE promotions (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    trial INTEGER NOT NULL,
    checkpoint TEXT,
    samples TEXT,
    config TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE INDEX promotions_of_campaign ON promotions (product, campaign);

CREATE TABLE golden_sets (
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    looks INTEGER NOT NULL CHECK (looks >= 0),
    published REAL,
    PRIMARY KEY (product, campaign, name),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE TABLE incidents (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES job_specs (id),
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    diagnosis TEXT NOT NULL,
    evidence TEXT NOT NULL,
    response TEXT NOT NULL,
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE INDEX incidents_of_campaign ON incidents (product, campaign);

CREATE TRIGGER promotions_are_never_changed BEFORE UPDATE ON promotions
BEGIN
    SELECT RAISE(ABORT, 'a promotion is never changed; a rollback is another promotion');
END;

CREATE TRIGGER promotions_are_never_deleted BEFORE DELETE ON promotions
BEGIN
    SELECT RAISE(ABORT, 'a promotion is never deleted; a rollback is another promotion');
END;

CREATE TRIGGER golden_sets_stay_locked BEFORE UPDATE ON golden_sets
WHEN NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.name <> OLD.name
    OR NEW.digest <> OLD.digest OR NEW.looks < OLD.looks
BEGIN
    SELECT RAISE(ABORT, 'a golden set keeps its digest, and its looks only grow');
END;
