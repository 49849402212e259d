-- Who has used a privilege, append-only; and factories that are deregistered.

-- One line per act, written in the same transaction. A product of NULL: it concerns all of them.
CREATE TABLE audit (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    product text COLLATE "C" CHECK (product <> ''),
    actor text COLLATE "C" NOT NULL CHECK (actor <> ''),
    token text COLLATE "C" CHECK (token <> ''),
    act text COLLATE "C" NOT NULL CHECK (act <> ''),
    object text COLLATE "C" NOT NULL CHECK (object <> ''),
    detail text COLLATE "C" NOT NULL,
    before text COLLATE "C" CHECK (length(before) = 64),
    after text COLLATE "C" CHECK (length(after) = 64)
);

CREATE INDEX audit_of_product ON audit (product, position);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit FOR EACH ROW
EXECUTE FUNCTION refuse('the audit log is append-only: a line is never changed');

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit FOR EACH ROW
EXECUTE FUNCTION refuse('the audit log is append-only: a line is never deleted');

CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT
EXECUTE FUNCTION refuse('the audit log is append-only: a line is never deleted');

CREATE FUNCTION check_factory_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'revoked' OR EXISTS (
        SELECT 1 FROM sessions WHERE product = OLD.product AND factory = OLD.name AND closed_at IS NULL
    ) THEN
        RAISE EXCEPTION 'a factory is never deleted before it is revoked and its sessions are closed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END
$$;

DROP TRIGGER factories_are_never_deleted ON factories;

CREATE TRIGGER factories_are_revoked_before_they_go BEFORE DELETE ON factories FOR EACH ROW
EXECUTE FUNCTION check_factory_gone();
