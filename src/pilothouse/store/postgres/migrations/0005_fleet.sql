-- Who runs the jobs, what they may cost, who may ask, and what each product wants of its fleet.

-- A factory as it has enrolled. Product '*' is one that serves every product.
CREATE TABLE factories (
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    capabilities text COLLATE "C" NOT NULL,
    engines text COLLATE "C" NOT NULL,
    seats bigint NOT NULL CHECK (seats >= 0),
    gpus bigint NOT NULL CHECK (gpus >= 0),
    usd_per_hour double precision CHECK (usd_per_hour >= 0),
    state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'draining', 'revoked')),
    created_at bigint NOT NULL,
    PRIMARY KEY (product, name)
);

CREATE TRIGGER factories_are_never_deleted BEFORE DELETE ON factories FOR EACH ROW
EXECUTE FUNCTION refuse('a factory is revoked, never deleted');

CREATE TRIGGER factories_are_never_emptied BEFORE TRUNCATE ON factories FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a factory is revoked, never deleted');

CREATE TRIGGER sessions_close_once BEFORE UPDATE ON sessions FOR EACH ROW
WHEN (OLD.closed_at IS NOT NULL)
EXECUTE FUNCTION refuse('a session that is closed never changes');

CREATE TRIGGER sessions_keep_their_identity BEFORE UPDATE OF number, product, factory, boot, opened_at ON sessions FOR EACH ROW
EXECUTE FUNCTION refuse('the number, factory and boot of a session never change');

CREATE TRIGGER sessions_are_never_deleted BEFORE DELETE ON sessions FOR EACH ROW
EXECUTE FUNCTION refuse('a session is closed, never deleted');

CREATE TRIGGER sessions_are_never_emptied BEFORE TRUNCATE ON sessions FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a session is closed, never deleted');

CREATE INDEX sessions_open ON sessions (number) WHERE closed_at IS NULL;

-- What a product, or one engine of it, may use within a window; engine '' is the whole product.
CREATE TABLE budgets (
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    engine text COLLATE "C" NOT NULL,
    usd double precision CHECK (usd >= 0),
    gpu_hours double precision CHECK (gpu_hours >= 0),
    tokens double precision CHECK (tokens >= 0),
    window_seconds bigint NOT NULL CHECK (window_seconds > 0),
    enforced bigint NOT NULL CHECK (enforced IN (0, 1)),
    paused_by text COLLATE "C",
    paused_why text COLLATE "C",
    paused_at bigint,
    PRIMARY KEY (product, engine),
    CHECK ((paused_by IS NULL) = (paused_at IS NULL)),
    CHECK ((paused_why IS NULL) = (paused_at IS NULL))
);

-- One line per attempt that counts under a budget: what it has reserved, then what it has used. Figures are in
-- millionths, so that their sums are exact; one that nobody knows is NULL.
CREATE TABLE ledger (
    job bigint NOT NULL,
    epoch bigint NOT NULL,
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    engine text COLLATE "C" NOT NULL,
    reserved_at bigint NOT NULL,
    usd bigint CHECK (usd >= 0),
    gpu_hours bigint CHECK (gpu_hours >= 0),
    tokens bigint CHECK (tokens >= 0),
    settled_at bigint,
    spent_usd bigint CHECK (spent_usd >= 0),
    spent_gpu_hours bigint CHECK (spent_gpu_hours >= 0),
    spent_tokens bigint CHECK (spent_tokens >= 0),
    PRIMARY KEY (job, epoch),
    FOREIGN KEY (job, epoch) REFERENCES job_attempts (job, epoch),
    -- Only a settled line has a cost, and then for each figure that was reserved.
    CHECK (settled_at IS NOT NULL OR (spent_usd IS NULL AND spent_gpu_hours IS NULL AND spent_tokens IS NULL)),
    CHECK (settled_at IS NULL OR usd IS NULL OR spent_usd IS NOT NULL),
    CHECK (settled_at IS NULL OR gpu_hours IS NULL OR spent_gpu_hours IS NOT NULL),
    CHECK (settled_at IS NULL OR tokens IS NULL OR spent_tokens IS NOT NULL)
);

CREATE INDEX ledger_by_time ON ledger (reserved_at);
CREATE INDEX ledger_unsettled ON ledger (job, epoch) WHERE settled_at IS NULL;

CREATE TRIGGER ledger_begins_unsettled BEFORE INSERT ON ledger FOR EACH ROW
WHEN (NEW.settled_at IS NOT NULL)
EXECUTE FUNCTION refuse('an attempt reserves before it settles');

CREATE TRIGGER ledger_settles_once BEFORE UPDATE ON ledger FOR EACH ROW
WHEN (OLD.settled_at IS NOT NULL)
EXECUTE FUNCTION refuse('a settled attempt never changes');

CREATE TRIGGER ledger_keeps_what_was_reserved
BEFORE UPDATE OF job, epoch, product, engine, reserved_at, usd, gpu_hours, tokens ON ledger FOR EACH ROW
EXECUTE FUNCTION refuse('what an attempt has reserved never changes');

CREATE TRIGGER ledger_is_never_deleted BEFORE DELETE ON ledger FOR EACH ROW
EXECUTE FUNCTION refuse('the ledger is append-only: a line is never deleted');

CREATE TRIGGER ledger_is_never_emptied BEFORE TRUNCATE ON ledger FOR EACH STATEMENT
EXECUTE FUNCTION refuse('the ledger is append-only: a line is never deleted');

-- Tokens by their id; of a token's text only its digest. A product of NULL stands for all of them.
CREATE TABLE tokens (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE CHECK (id <> ''),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('user', 'worker', 'enrolment')),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    role text COLLATE "C" CHECK (role IN ('viewer', 'proposer', 'approver', 'operator', 'worker', 'admin')),
    product text COLLATE "C" CHECK (product <> ''),
    factory text COLLATE "C" CHECK (factory <> ''),
    digest text COLLATE "C" NOT NULL UNIQUE CHECK (length(digest) = 64),
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    used_at bigint,
    CHECK ((kind = 'enrolment') = (role IS NULL)),
    CHECK (kind = 'enrolment' OR (kind = 'worker') = (role = 'worker')),
    CHECK ((kind = 'worker') = (factory IS NOT NULL)),
    CHECK (kind = 'enrolment' OR used_at IS NULL)
);

CREATE INDEX tokens_of_product ON tokens (product, position);

CREATE TRIGGER tokens_keep_their_content
BEFORE UPDATE OF position, id, kind, name, role, product, factory, digest, created_at, expires_at ON tokens FOR EACH ROW
EXECUTE FUNCTION refuse('what a token is never changes; revoke it and make another');

CREATE TRIGGER tokens_stay_revoked BEFORE UPDATE OF revoked_at ON tokens FOR EACH ROW
WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS NULL OR NEW.revoked_at > OLD.revoked_at))
EXECUTE FUNCTION refuse('a revocation is brought forward, never put off or taken back');

CREATE TRIGGER tokens_are_used_once BEFORE UPDATE OF used_at ON tokens FOR EACH ROW
WHEN (OLD.used_at IS NOT NULL OR NEW.used_at >= OLD.revoked_at OR NEW.used_at >= OLD.expires_at)
EXECUTE FUNCTION refuse('a token is used once, and while it is good');

CREATE TRIGGER tokens_are_never_deleted BEFORE DELETE ON tokens FOR EACH ROW
EXECUTE FUNCTION refuse('a token is revoked, never deleted');

CREATE TRIGGER tokens_are_never_emptied BEFORE TRUNCATE ON tokens FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a token is revoked, never deleted');

-- What a product changes about its fleet, and who last said so.
CREATE TABLE fleet_settings (
    product text COLLATE "C" NOT NULL PRIMARY KEY CHECK (product <> ''),
    settings text COLLATE "C" NOT NULL,
    changed_by text COLLATE "C" NOT NULL,
    changed_at bigint NOT NULL
);
