-- The append-only logbook: the table itself refuses a change, a deletion and an entry that does not follow the last.

CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL CHECK (product <> ''),
    thread TEXT NOT NULL CHECK (thread <> ''),
    number INTEGER NOT NULL CHECK (number >= 0),
    at INTEGER NOT NULL,
    label TEXT NOT NULL,
    hypothesis TEXT NOT NULL,
    command TEXT NOT NULL,
    config TEXT NOT NULL,
    result TEXT NOT NULL,
    interpretation TEXT NOT NULL,
    next_action TEXT NOT NULL,
    confidence TEXT NOT NULL,
    evidence TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    UNIQUE (product, thread, number)
) STRICT;

CREATE TRIGGER entries_follow_the_last BEFORE INSERT ON entries
WHEN EXISTS (
    SELECT 1
    FROM (
        SELECT number, hash FROM entries
        WHERE product = NEW.product AND thread = NEW.thread
        ORDER BY number DESC
        LIMIT 1
    ) AS last
    WHERE NEW.number <> last.number + 1 OR NEW.previous_hash <> last.hash
)
BEGIN
    SELECT RAISE(ABORT, 'an entry follows the last one of its thread, by number and by hash');
END;

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN
    SELECT RAISE(ABORT, 'the logbook is append-only: an entry is never changed');
END;

CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'the logbook is append-only: an entry is never deleted');
END;
