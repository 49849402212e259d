-- What agents did to propose, what they were refused, and who opened the gate: by an approval, or by a waiver with an end.

CREATE TABLE agent_runs (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    proposal text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    charged_usd double precision CHECK (charged_usd >= 0),
    record text COLLATE "C" NOT NULL,
    UNIQUE (product, proposal),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id)
);

CREATE INDEX agent_runs_of_campaign ON agent_runs (product, campaign);

CREATE TABLE agent_incidents (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    proposal text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    diagnosis text COLLATE "C" NOT NULL CHECK (diagnosis <> ''),
    evidence text COLLATE "C" NOT NULL,
    occurrences bigint NOT NULL CHECK (occurrences > 0),
    response text COLLATE "C" NOT NULL,
    UNIQUE (product, proposal, diagnosis),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id)
);

CREATE INDEX agent_incidents_of_campaign ON agent_incidents (product, campaign);

CREATE TABLE waivers (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    granted_by text COLLATE "C" NOT NULL CHECK (granted_by <> ''),
    reason text COLLATE "C" NOT NULL CHECK (reason <> ''),
    knobs text COLLATE "C" NOT NULL,
    buckets text COLLATE "C" NOT NULL,
    risk text COLLATE "C" NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    proposals bigint NOT NULL CHECK (proposals > 0),
    terms text COLLATE "C" NOT NULL,
    granted_at bigint NOT NULL,
    expires_at bigint NOT NULL CHECK (expires_at > granted_at),
    ended_at bigint,
    ended_by text COLLATE "C" NOT NULL DEFAULT '',
    UNIQUE (product, id),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE INDEX waivers_of_campaign ON waivers (product, campaign);

CREATE TABLE admissions (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    proposal text COLLATE "C" NOT NULL,
    subject_digest text COLLATE "C" NOT NULL,
    approver text COLLATE "C" NOT NULL CHECK (approver <> ''),
    waiver text COLLATE "C",
    at bigint NOT NULL,
    UNIQUE (product, proposal),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id),
    FOREIGN KEY (product, waiver) REFERENCES waivers (product, id)
);

CREATE INDEX admissions_of_campaign ON admissions (product, campaign);

CREATE TRIGGER agent_runs_are_never_changed BEFORE UPDATE ON agent_runs FOR EACH ROW
EXECUTE FUNCTION refuse('what is kept of an agent is never changed');

CREATE TRIGGER agent_runs_are_never_deleted BEFORE DELETE ON agent_runs FOR EACH ROW
EXECUTE FUNCTION refuse('what is kept of an agent is never deleted');

CREATE TRIGGER agent_runs_are_never_emptied BEFORE TRUNCATE ON agent_runs FOR EACH STATEMENT
EXECUTE FUNCTION refuse('what is kept of an agent is never deleted');

CREATE TRIGGER agent_incidents_are_never_changed BEFORE UPDATE ON agent_incidents FOR EACH ROW
EXECUTE FUNCTION refuse('an incident is never changed');

CREATE TRIGGER agent_incidents_are_never_deleted BEFORE DELETE ON agent_incidents FOR EACH ROW
EXECUTE FUNCTION refuse('an incident is never deleted');

CREATE TRIGGER agent_incidents_are_never_emptied BEFORE TRUNCATE ON agent_incidents FOR EACH STATEMENT
EXECUTE FUNCTION refuse('an incident is never deleted');

-- What a waiver covers never grows: it can be ended, once, and no more.
CREATE TRIGGER waivers_keep_their_content BEFORE UPDATE OF
    position, id, product, campaign, granted_by, reason, knobs, buckets, risk, proposals, terms, granted_at, expires_at
ON waivers FOR EACH ROW
EXECUTE FUNCTION refuse('what a waiver covers never changes; end it and grant another');

CREATE TRIGGER waivers_stay_ended BEFORE UPDATE OF ended_at, ended_by ON waivers FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL)
EXECUTE FUNCTION refuse('a waiver is ended once, and stays so');

CREATE TRIGGER waivers_are_never_deleted BEFORE DELETE ON waivers FOR EACH ROW
EXECUTE FUNCTION refuse('a waiver is ended, never deleted');

CREATE TRIGGER waivers_are_never_emptied BEFORE TRUNCATE ON waivers FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a waiver is ended, never deleted');

CREATE TRIGGER admissions_are_never_changed BEFORE UPDATE ON admissions FOR EACH ROW
EXECUTE FUNCTION refuse('who opened the gate is never changed');

CREATE TRIGGER admissions_are_never_deleted BEFORE DELETE ON admissions FOR EACH ROW
EXECUTE FUNCTION refuse('who opened the gate is never deleted');

CREATE TRIGGER admissions_are_never_emptied BEFORE TRUNCATE ON admissions FOR EACH STATEMENT
EXECUTE FUNCTION refuse('who opened the gate is never deleted');

CREATE FUNCTION check_waiver_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM admissions WHERE product = NEW.product AND waiver = NEW.waiver)
        >= (SELECT proposals FROM waivers WHERE product = NEW.product AND id = NEW.waiver) THEN
        RAISE EXCEPTION 'a waiver lets no more proposals through than it names'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER waivers_let_so_many_through BEFORE INSERT ON admissions FOR EACH ROW
WHEN (NEW.waiver IS NOT NULL)
EXECUTE FUNCTION check_waiver_room();
