-- Which server leads: one row, whose epoch only grows. Next to a file there is one server, which the home's lock file
-- already sees to; the row says it to whoever reads the database.

CREATE TABLE leader (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    expires_at INTEGER NOT NULL
) STRICT;

INSERT INTO leader (number, holder, epoch, expires_at) VALUES (1, '', 0, 0);

CREATE TRIGGER leader_epochs_only_grow BEFORE UPDATE ON leader
WHEN NEW.epoch < OLD.epoch OR (NEW.holder <> OLD.holder AND NEW.holder <> '' AND NEW.epoch = OLD.epoch)
BEGIN
    SELECT RAISE(ABORT, 'the epoch of the leader never falls, and another leader has another epoch');
END;
