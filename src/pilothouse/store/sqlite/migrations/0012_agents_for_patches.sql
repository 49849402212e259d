-- An agent may be asked for more than a proposal: for a patch after the run of one has failed. `about` says for what.

CREATE TABLE agent_runs_now (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    proposal TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    at INTEGER NOT NULL,
    charged_usd REAL CHECK (charged_usd >= 0),
    record TEXT NOT NULL,
    UNIQUE (product, proposal, about),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id)
) STRICT;

INSERT INTO agent_runs_now (position, product, campaign, proposal, at, charged_usd, record)
SELECT position, product, campaign, proposal, at, charged_usd, record FROM agent_runs;

DROP TABLE agent_runs;

ALTER TABLE agent_runs_now RENAME TO agent_runs;

CREATE INDEX agent_runs_of_campaign ON agent_runs (product, campaign);

CREATE TRIGGER agent_runs_are_never_changed BEFORE UPDATE ON agent_runs
BEGIN
    SELECT RAISE(ABORT, 'what is kept of an agent is never changed');
END;

CREATE TRIGGER agent_runs_are_never_deleted BEFORE DELETE ON agent_runs
BEGIN
    SELECT RAISE(ABORT, 'what is kept of an agent is never deleted');
END;

CREATE TABLE agent_incidents_now (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    proposal TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    at INTEGER NOT NULL,
    diagnosis TEXT NOT NULL CHECK (diagnosis <> ''),
    evidence TEXT NOT NULL,
    occurrences INTEGER NOT NULL CHECK (occurrences > 0),
    response TEXT NOT NULL,
    UNIQUE (product, proposal, about, diagnosis),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name),
    FOREIGN KEY (product, proposal) REFERENCES proposals (product, id)
) STRICT;

INSERT INTO agent_incidents_now (
    position, product, campaign, proposal, at, diagnosis, evidence, occurrences, response
)
SELECT position, product, campaign, proposal, at, diagnosis, evidence, occurrences, response FROM agent_incidents;

DROP TABLE agent_incidents;

ALTER TABLE agent_incidents_now RENAME TO agent_incidents;

CREATE INDEX agent_incidents_of_campaign ON agent_incidents (product, campaign);

CREATE TRIGGER agent_incidents_are_never_changed BEFORE UPDATE ON agent_incidents
BEGIN
    SELECT RAISE(ABORT, 'an incident is never changed');
END;

CREATE TRIGGER agent_incidents_are_never_deleted BEFORE DELETE ON agent_incidents
BEGIN
    SELECT RAISE(ABORT, 'an incident is never deleted');
END;
