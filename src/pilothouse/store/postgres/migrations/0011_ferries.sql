-- Ferries, and who watches their runs.

CREATE TABLE ferries (
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    run text COLLATE "C" NOT NULL CHECK (run <> ''),
    tick bigint,
    drafted_at bigint NOT NULL,
    considered text COLLATE "C" NOT NULL,
    judged text COLLATE "C",
    closed_at bigint,
    seal text COLLATE "C" NOT NULL,
    PRIMARY KEY (product, campaign, number),
    UNIQUE (product, run),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    CHECK ((judged IS NULL) = (closed_at IS NULL)),
    CHECK (seal = '' OR closed_at IS NOT NULL)
);

CREATE TABLE monitors (
    product text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL CHECK (owner <> ''),
    taken_at bigint NOT NULL,
    looked_at bigint,
    moved_at bigint,
    looks bigint NOT NULL CHECK (looks >= 0),
    state text COLLATE "C" NOT NULL,
    step bigint,
    total bigint,
    detail text COLLATE "C" NOT NULL,
    PRIMARY KEY (product, run),
    FOREIGN KEY (product, run) REFERENCES ferries (product, run)
);

CREATE TRIGGER closed_ferries_are_never_changed BEFORE UPDATE ON ferries FOR EACH ROW
WHEN (OLD.closed_at IS NOT NULL)
EXECUTE FUNCTION refuse('a closed ferry is never changed; the next one is another ferry');

CREATE TRIGGER ferries_keep_their_name BEFORE UPDATE ON ferries FOR EACH ROW
WHEN (NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.number <> OLD.number OR NEW.run <> OLD.run)
EXECUTE FUNCTION refuse('a ferry keeps the name of its run');

CREATE TRIGGER ferries_are_never_deleted BEFORE DELETE ON ferries FOR EACH ROW
EXECUTE FUNCTION refuse('a ferry is never deleted');

CREATE TRIGGER ferries_are_never_emptied BEFORE TRUNCATE ON ferries FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a ferry is never deleted');
