-- The append-only logbook: the table itself refuses a change, a deletion and an entry that does not follow the last.

CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL CHECK (product <> ''),
    thread TEXT NOT NULL CHECK (thread <> ''),
    number INTEGER NOT NULL CHECK (number >= 1),
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

CREATE TRIGGER entries_count_by_one BEFORE INSERT ON entries
WHEN NEW.number <> 1 + (
    SELECT coalesce(max(number), 0) FROM entries WHERE product = NEW.product AND thread = NEW.thread
)
BEGIN
    SELECT RAISE(ABORT, 'an entry has the number after the last one of its thread, and the first has 1');
END;

CREATE TRIGGER entries_follow_the_last BEFORE INSERT ON entries
WHEN NEW.number > 1 AND NOT EXISTS (
    SELECT 1 FROM entries
    WHERE product = NEW.product AND thread = NEW.thread AND number = NEW.number - 1 AND hash = NEW.previous_hash
)
BEGIN
    SELECT RAISE(ABORT, 'an entry names the hash of the last one of its thread');
END;

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN
    SELECT RAISE(ABORT, 'the logbook is append-only: an entry is never changed');
END;

CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'the logbook is append-only: an entry is never deleted');
END;
