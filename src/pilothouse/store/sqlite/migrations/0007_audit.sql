-- Who has used a privilege, append-only; and factories that are deregistered.

-- One line per act, written in the same transaction. A product of NULL: it concerns all of them.
CREATE TABLE audit (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    product TEXT CHECK (product <> ''),
    actor TEXT NOT NULL CHECK (actor <> ''),
    token TEXT CHECK (token <> ''),
    act TEXT NOT NULL CHECK (act <> ''),
    object TEXT NOT NULL CHECK (object <> ''),
    detail TEXT NOT NULL,
    before TEXT CHECK (length(before) = 64),
    after TEXT CHECK (length(after) = 64)
) STRICT;

CREATE INDEX audit_of_product ON audit (product, position);

CREATE TRIGGER audit_goes_on_at_its_end AFTER INSERT ON audit
WHEN NEW.position < (SELECT max(position) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only: a line comes after the last one');
END;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only: a line is never changed');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only: a line is never deleted');
END;

DROP TRIGGER factories_are_never_deleted;

CREATE TRIGGER factories_are_revoked_before_they_go BEFORE DELETE ON factories
WHEN OLD.state <> 'revoked' OR EXISTS (
    SELECT 1 FROM sessions WHERE product = OLD.product AND factory = OLD.name AND closed_at IS NULL
)
BEGIN
    SELECT RAISE(ABORT, 'a factory is never deleted before it is revoked and its sessions are closed');
END;
