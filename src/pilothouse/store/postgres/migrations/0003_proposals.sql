-- Proposals and the approvals that cover them.

CREATE TABLE proposals (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    number bigint NOT NULL CHECK (number >= 0),
    parent_digest text COLLATE "C" NOT NULL,
    config text COLLATE "C" NOT NULL,
    changes text COLLATE "C" NOT NULL,
    why_not_identical text COLLATE "C" NOT NULL,
    rationale text COLLATE "C" NOT NULL,
    hypothesis text COLLATE "C" NOT NULL,
    risk text COLLATE "C" NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    rollback text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('open', 'admitted', 'rejected')),
    created_at bigint NOT NULL,
    refusal text COLLATE "C" NOT NULL,
    UNIQUE (product, id),
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE INDEX proposals_of_campaign ON proposals (product, campaign);

CREATE TABLE approvals (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    subject_digest text COLLATE "C" NOT NULL,
    approver text COLLATE "C" NOT NULL,
    waiver bigint NOT NULL CHECK (waiver IN (0, 1)),
    reason text COLLATE "C" NOT NULL,
    granted_at bigint NOT NULL,
    expires_at bigint,
    FOREIGN KEY (product, campaign) REFERENCES campaigns (product, name)
);

CREATE INDEX approvals_of_campaign ON approvals (product, campaign);

-- Only its state and refusal may move: what was approved is what stands here.
CREATE TRIGGER proposals_keep_their_content BEFORE UPDATE OF
    position, id, product, campaign, number, parent_digest, config, changes, why_not_identical, rationale, hypothesis,
    risk, rollback, source, subject, created_at
ON proposals FOR EACH ROW
EXECUTE FUNCTION refuse('the content of a proposal never changes');

CREATE TRIGGER approvals_are_never_changed BEFORE UPDATE ON approvals FOR EACH ROW
EXECUTE FUNCTION refuse('an approval is never changed');

CREATE TRIGGER approvals_are_never_deleted BEFORE DELETE ON approvals FOR EACH ROW
EXECUTE FUNCTION refuse('an approval is never deleted');

CREATE TRIGGER approvals_are_never_emptied BEFORE TRUNCATE ON approvals FOR EACH STATEMENT
EXECUTE FUNCTION refuse('an approval is never deleted');
