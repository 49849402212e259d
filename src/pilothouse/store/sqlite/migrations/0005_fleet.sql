-- Who runs the jobs, what they may cost, who may ask, and what each product wants of its fleet.

-- A factory as it has enrolled. Product '*' is one that serves every product.
CREATE TABLE factories (
    product TEXT NOT NULL CHECK (product <> ''),
    name TEXT NOT NULL CHECK (name <> ''),
    capabilities TEXT NOT NULL,
    engines TEXT NOT NULL,
    seats INTEGER NOT NULL CHECK (seats >= 0),
    gpus INTEGER NOT NULL CHECK (gpus >= 0),
    usd_per_hour REAL CHECK (usd_per_hour >= 0),
    state TEXT NOT NULL CHECK (state IN ('active', 'draining', 'revoked')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (product, name)
) STRICT;

CREATE TRIGGER factories_are_never_deleted BEFORE DELETE ON factories
BEGIN
    SELECT RAISE(ABORT, 'a factory is revoked, never deleted');
END;

CREATE TRIGGER sessions_close_once BEFORE UPDATE ON sessions
WHEN OLD.closed_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a session that is closed never changes');
END;

CREATE TRIGGER sessions_keep_their_identity BEFORE UPDATE OF number, product, factory, boot, opened_at ON sessions
BEGIN
    SELECT RAISE(ABORT, 'the number, factory and boot of a session never change');
END;

CREATE TRIGGER sessions_are_never_deleted BEFORE DELETE ON sessions
BEGIN
    SELECT RAISE(ABORT, 'a session is closed, never deleted');
END;

CREATE INDEX sessions_open ON sessions (number) WHERE closed_at IS NULL;

-- What a product, or one engine of it, may use within a window; engine '' is the whole product.
CREATE TABLE budgets (
    product TEXT NOT NULL CHECK (product <> ''),
    engine TEXT NOT NULL,
    usd REAL CHECK (usd >= 0),
    gpu_hours REAL CHECK (gpu_hours >= 0),
    tokens REAL CHECK (tokens >= 0),
    window_seconds INTEGER NOT NULL CHECK (window_seconds > 0),
    enforced INTEGER NOT NULL CHECK (enforced IN (0, 1)),
    paused_by TEXT,
    paused_why TEXT,
    paused_at INTEGER,
    PRIMARY KEY (product, engine),
    CHECK ((paused_by IS NULL) = (paused_at IS NULL)),
    CHECK ((paused_why IS NULL) = (paused_at IS NULL))
) STRICT;

-- One line per attempt that counts under a budget: what it has reserved, then what it has used. Figures are in
-- millionths, so that their sums are exact; one that nobody knows is NULL.
CREATE TABLE ledger (
    job INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    product TEXT NOT NULL CHECK (product <> ''),
    engine TEXT NOT NULL,
    reserved_at INTEGER NOT NULL,
    usd INTEGER CHECK (usd >= 0),
    gpu_hours INTEGER CHECK (gpu_hours >= 0),
    tokens INTEGER CHECK (tokens >= 0),
    settled_at INTEGER,
    spent_usd INTEGER CHECK (spent_usd >= 0),
    spent_gpu_hours INTEGER CHECK (spent_gpu_hours >= 0),
    spent_tokens INTEGER CHECK (spent_tokens >= 0),
    PRIMARY KEY (job, epoch),
    FOREIGN KEY (job, epoch) REFERENCES job_attempts (job, epoch),
    -- Only a settled line has a cost, and then for each figure that was reserved.
    CHECK (settled_at IS NOT NULL OR (spent_usd IS NULL AND spent_gpu_hours IS NULL AND spent_tokens IS NULL)),
    CHECK (settled_at IS NULL OR usd IS NULL OR spent_usd IS NOT NULL),
    CHECK (settled_at IS NULL OR gpu_hours IS NULL OR spent_gpu_hours IS NOT NULL),
    CHECK (settled_at IS NULL OR tokens IS NULL OR spent_tokens IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_by_time ON ledger (reserved_at);
CREATE INDEX ledger_unsettled ON ledger (job, epoch) WHERE settled_at IS NULL;

CREATE TRIGGER ledger_begins_unsettled BEFORE INSERT ON ledger
WHEN NEW.settled_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'an attempt reserves before it settles');
END;

CREATE TRIGGER ledger_settles_once BEFORE UPDATE ON ledger
WHEN OLD.settled_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a settled attempt never changes');
END;

CREATE TRIGGER ledger_keeps_what_was_reserved
BEFORE UPDATE OF job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens ON ledger
BEGIN
    SELECT RAISE(ABORT, 'what an attempt has reserved never changes');
END;

CREATE TRIGGER ledger_is_never_deleted BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a line is never deleted');
END;

-- Tokens by their id; of a token's text only its digest. A product of NULL stands for all of them.
CREATE TABLE tokens (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (id <> ''),
    kind TEXT NOT NULL CHECK (kind IN ('user', 'worker', 'enrolment')),
    name TEXT NOT NULL CHECK (name <> ''),
    role TEXT CHECK (role IN ('viewer', 'proposer', 'approver', 'operator', 'worker', 'admin')),
    product TEXT CHECK (product <> ''),
    factory TEXT CHECK (factory <> ''),
    digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    used_at INTEGER,
    CHECK ((kind = 'enrolment') = (role IS NULL)),
    CHECK (kind = 'enrolment' OR (kind = 'worker') = (role = 'worker')),
    CHECK ((kind = 'worker') = (factory IS NOT NULL)),
    CHECK (kind = 'enrolment' OR used_at IS NULL)
) STRICT;

CREATE INDEX tokens_of_product ON tokens (product, position);

CREATE TRIGGER tokens_keep_their_content
BEFORE UPDATE OF position, id, kind, name, role, product, factory, digest, created_at, expires_at ON tokens
BEGIN
    SELECT RAISE(ABORT, 'what a token is never changes; revoke it and make another');
END;

CREATE TRIGGER tokens_stay_revoked BEFORE UPDATE OF revoked_at ON tokens
WHEN OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS NULL OR NEW.revoked_at > OLD.revoked_at)
BEGIN
    SELECT RAISE(ABORT, 'a revocation is brought forward, never put off or taken back');
END;

CREATE TRIGGER tokens_are_used_once BEFORE UPDATE OF used_at ON tokens
WHEN OLD.used_at IS NOT NULL OR NEW.used_at >= OLD.revoked_at OR NEW.used_at >= OLD.expires_at
BEGIN
    SELECT RAISE(ABORT, 'a token is used once, and while it is good');
END;

CREATE TRIGGER tokens_are_never_deleted BEFORE DELETE ON tokens
BEGIN
    SELECT RAISE(ABORT, 'a token is revoked, never deleted');
END;

-- What a product changes about its fleet, and who last said so.
CREATE TABLE fleet_settings (
    product TEXT NOT NULL PRIMARY KEY CHECK (product <> ''),
    settings TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
