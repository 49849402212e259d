-- The append-only logbook: the table itself refuses a change, a deletion and an entry that does not follow the last.

CREATE TABLE entries (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    thread text COLLATE "C" NOT NULL CHECK (thread <> ''),
    number bigint NOT NULL CHECK (number >= 1),
    at bigint NOT NULL,
    label text COLLATE "C" NOT NULL,
    hypothesis text COLLATE "C" NOT NULL,
    command text COLLATE "C" NOT NULL,
    config text COLLATE "C" NOT NULL,
    result text COLLATE "C" NOT NULL,
    interpretation text COLLATE "C" NOT NULL,
    next_action text COLLATE "C" NOT NULL,
    confidence text COLLATE "C" NOT NULL,
    evidence text COLLATE "C" NOT NULL,
    previous_hash text COLLATE "C" NOT NULL,
    hash text COLLATE "C" NOT NULL,
    UNIQUE (product, thread, number)
);

CREATE FUNCTION check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last record;
BEGIN
    SELECT number, hash INTO last FROM entries
    WHERE product = NEW.product AND thread = NEW.thread
    ORDER BY number DESC LIMIT 1;
    IF NEW.number <> 1 + coalesce(last.number, 0) THEN
        RAISE EXCEPTION 'an entry has the number after the last one of its thread, and the first has 1'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.number > 1 AND last.hash <> NEW.previous_hash THEN
        RAISE EXCEPTION 'an entry names the hash of the last one of its thread'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER entries_follow_the_last BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION check_entry();

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries FOR EACH ROW
EXECUTE FUNCTION refuse('the logbook is append-only: an entry is never changed');

CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries FOR EACH ROW
EXECUTE FUNCTION refuse('the logbook is append-only: an entry is never deleted');

CREATE TRIGGER entries_are_never_emptied BEFORE TRUNCATE ON entries FOR EACH STATEMENT
EXECUTE FUNCTION refuse('the logbook is append-only: an entry is never deleted');
