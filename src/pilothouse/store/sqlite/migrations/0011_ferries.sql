-- Ferries, and who watches their runs.

CREATE TABLE ferries (
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    run TEXT NOT NULL CHECK (run <> ''),
    tick INTEGER,
    drafted_at INTEGER NOT NULL,
    considered TEXT NOT NULL,
    judged TEXT,
    closed_at INTEGER,
    seal TEXT NOT NULL,
    PRIMARY KEY (product, campaign, number),
    UNIQUE (product, run),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    CHECK ((judged IS NULL) = (closed_at IS NULL)),
    CHECK (seal = '' OR closed_at IS NOT NULL)
) STRICT;

CREATE TABLE monitors (
    product TEXT NOT NULL,
    run TEXT NOT NULL,
    owner TEXT NOT NULL CHECK (owner <> ''),
    taken_at INTEGER NOT NULL,
    looked_at INTEGER,
    moved_at INTEGER,
    looks INTEGER NOT NULL CHECK (looks >= 0),
    state TEXT NOT NULL,
    step INTEGER,
    total INTEGER,
    detail TEXT NOT NULL,
    PRIMARY KEY (product, run),
    FOREIGN KEY (product, run) REFERENCES ferries (product, run)
) STRICT;

CREATE TRIGGER closed_ferries_are_never_changed BEFORE UPDATE ON ferries
WHEN OLD.closed_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a closed ferry is never changed; the next one is another ferry');
END;

CREATE TRIGGER ferries_keep_their_name BEFORE UPDATE ON ferries
WHEN NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.number <> OLD.number OR NEW.run <> OLD.run
BEGIN
    SELECT RAISE(ABORT, 'a ferry keeps the name of its run');
END;

CREATE TRIGGER ferries_are_never_deleted BEFORE DELETE ON ferries
BEGIN
    SELECT RAISE(ABORT, 'a ferry is never deleted');
END;
