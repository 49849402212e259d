-- A ferry that nobody has admitted may be named after a later tick; from its admission on it keeps its name.

DROP TRIGGER ferries_keep_their_name;

CREATE TRIGGER ferries_keep_their_name BEFORE UPDATE ON ferries
WHEN NEW.product <> OLD.product OR NEW.campaign <> OLD.campaign OR NEW.number <> OLD.number
    OR (NEW.run <> OLD.run AND EXISTS (
        SELECT 1 FROM trials
        WHERE trials.product = OLD.product AND trials.campaign = OLD.campaign AND trials.number = OLD.number
    ))
BEGIN
    SELECT RAISE(ABORT, 'an admitted ferry keeps the name of its run');
END;
