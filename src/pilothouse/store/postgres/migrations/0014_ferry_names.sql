-- A ferry that nobody has admitted may be named after a later tick; from its admission on it keeps its name.

DROP TRIGGER ferries_keep_their_name ON ferries;

CREATE FUNCTION check_ferry_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.number <> OLD.number OR EXISTS (
        SELECT 1 FROM trials
        WHERE trials.product = OLD.product AND trials.campaign = OLD.campaign AND trials.number = OLD.number
    ) THEN
        RAISE EXCEPTION 'an admitted ferry keeps the name of its run'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

-- Differs from SQLite: a condition of a trigger holds no query here, so the function asks.
CREATE TRIGGER ferries_keep_their_name BEFORE UPDATE ON ferries FOR EACH ROW
WHEN (NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.number <> OLD.number OR NEW.run <> OLD.run)
EXECUTE FUNCTION check_ferry_name();
