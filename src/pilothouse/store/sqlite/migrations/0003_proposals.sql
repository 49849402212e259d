-- Proposals and the approvals that cover them.

CREATE TABLE proposals (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 0),
    parent_digest TEXT NOT NULL,
    config TEXT NOT NULL,
    changes TEXT NOT NULL,
    why_not_identical TEXT NOT NULL,
    rationale TEXT NOT NULL,
    hypothesis TEXT NOT NULL,
    risk TEXT NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    rollback TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'admitted', 'rejected')),
    created_at INTEGER NOT NULL,
    refusal TEXT NOT NULL,
    UNIQUE (product, id),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE INDEX proposals_of_campaign ON proposals (product, campaign);

CREATE TABLE approvals (
    position INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    campaign TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    approver TEXT NOT NULL,
    waiver INTEGER NOT NULL CHECK (waiver IN (0, 1)),
    reason TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    expires_at INTEGER,
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
) STRICT;

CREATE INDEX approvals_of_campaign ON approvals (product, campaign);

-- Only its state and refusal may move: what was approved is what stands here.
CREATE TRIGGER proposals_keep_their_content BEFORE UPDATE OF
    position, id, product, campaign, number, parent_digest, config, changes, why_not_identical, rationale, hypothesis,
    risk, rollback, source, subject, created_at
ON proposals
BEGIN
    SELECT RAISE(ABORT, 'the content of a proposal never changes');
END;

CREATE TRIGGER approvals_are_never_changed BEFORE UPDATE ON approvals
BEGIN
    SELECT RAISE(ABORT, 'an approval is never changed');
END;

CREATE TRIGGER approvals_are_never_deleted BEFORE DELETE ON approvals
BEGIN
    SELECT RAISE(ABORT, 'an approval is never deleted');
END;
