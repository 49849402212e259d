-- Which server leads: one row, whose epoch only grows, and whose time is the database's own.

CREATE TABLE leader (
    number smallint PRIMARY KEY CHECK (number = 1),
    holder text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    expires_at bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO leader (number, holder, epoch, expires_at) VALUES (1, '', 0, 0);

CREATE TRIGGER leader_epochs_only_grow BEFORE UPDATE ON leader FOR EACH ROW
WHEN (NEW.epoch < OLD.epoch OR (NEW.holder <> OLD.holder AND NEW.holder <> '' AND NEW.epoch = OLD.epoch))
EXECUTE FUNCTION refuse('the epoch of the leader never falls, and another leader has another epoch');
