-- What agents did to propose, what they were refused, and who opened the gate: by an approval, or by a waiver with an end.

CREATE TABLE agent_runs (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    proposal TEXT NOT NULL,
    at INTEGER NOT NULL,
    charged_usd REAL CHECK (charged_usd >= 0),
    record TEXT NOT NULL,
    UNIQUE (product, proposal),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id)
) STRICT;

CREATE INDEX agent_runs_of_campaign ON agent_runs (product, campaign);

CREATE TABLE agent_incidents (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    proposal TEXT NOT NULL,
    at INTEGER NOT NULL,
    diagnosis TEXT NOT NULL CHECK (diagnosis <> ''),
    evidence TEXT NOT NULL,
    occurrences INTEGER NOT NULL CHECK (occurrences > 0),
    response TEXT NOT NULL,
    UNIQUE (product, proposal, diagnosis),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id)
) STRICT;

CREATE INDEX agent_incidents_of_campaign ON agent_incidents (product, campaign);

CREATE TABLE waivers (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    granted_by TEXT NOT NULL CHECK (granted_by <> ''),
    reason TEXT NOT NULL CHECK (reason <> ''),
    knobs TEXT NOT NULL,
    buckets TEXT NOT NULL,
    risk TEXT NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    proposals INTEGER NOT NULL CHECK (proposals > 0),
    terms TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > granted_at),
    ended_at INTEGER,
    ended_by TEXT NOT NULL DEFAULT '',
    UNIQUE (product, id),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE INDEX waivers_of_campaign ON waivers (product, campaign);

CREATE TABLE admissions (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    proposal TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    approver TEXT NOT NULL CHECK (approver <> ''),
    waiver TEXT,
    at INTEGER NOT NULL,
    UNIQUE (product, proposal),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id),
    FOREIGN KEY (product, waiver) REFERENCES waivers (product, id)
) STRICT;

CREATE INDEX admissions_of_campaign ON admissions (product, campaign);

CREATE TRIGGER agent_runs_are_never_changed BEFORE UPDATE ON agent_runs
BEGIN
    SELECT RAISE(ABORT, 'what is kept of an agent is never changed');
END;

CREATE TRIGGER agent_runs_are_never_deleted BEFORE DELETE ON agent_runs
BEGIN
    SELECT RAISE(ABORT, 'what is kept of an agent is never deleted');
END;

CREATE TRIGGER agent_incidents_are_never_changed BEFORE UPDATE ON agent_incidents
BEGIN
    SELECT RAISE(ABORT, 'an incident is never changed');
END;

CREATE TRIGGER agent_incidents_are_never_deleted BEFORE DELETE ON agent_incidents
BEGIN
    SELECT RAISE(ABORT, 'an incident is never deleted');
END;

-- What a waiver covers never grows: it can be ended, once, and no more.
CREATE TRIGGER waivers_keep_their_content BEFORE UPDATE OF
    position, id, product, campaign, granted_by, reason, knobs, buckets, risk, proposals, terms, granted_at, expires_at
ON waivers
BEGIN
    SELECT RAISE(ABORT, 'what a waiver covers never changes; end it and grant another');
END;

CREATE TRIGGER waivers_stay_ended BEFORE UPDATE OF ended_at, ended_by ON waivers
WHEN OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
BEGIN
    SELECT RAISE(ABORT, 'a waiver is ended once, and stays so');
END;

CREATE TRIGGER waivers_are_never_deleted BEFORE DELETE ON waivers
BEGIN
    SELECT RAISE(ABORT, 'a waiver is ended, never deleted');
END;

CREATE TRIGGER admissions_are_never_changed BEFORE UPDATE ON admissions
BEGIN
    SELECT RAISE(ABORT, 'who opened the gate is never changed');
END;

CREATE TRIGGER admissions_are_never_deleted BEFORE DELETE ON admissions
BEGIN
    SELECT RAISE(ABORT, 'who opened the gate is never deleted');
END;

CREATE TRIGGER waivers_let_so_many_through BEFORE INSERT ON admissions
WHEN NEW.waiver IS NOT NULL AND (
    SELECT count(*) FROM admissions WHERE product = NEW.product AND waiver = NEW.waiver
) >= (SELECT proposals FROM waivers WHERE product = NEW.product AND id = NEW.waiver)
BEGIN
    SELECT RAISE(ABORT, 'a waiver lets no more proposals through than it names');
END;
