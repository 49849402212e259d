-- name: add_proposal
-- Stores a proposal.
INSERT INTO proposals (
    id, product, campaign, number, parent_digest, config, changes, why_not_identical, rationale, hypothesis,
    risk, rollback, source, subject, state, created_at, refusal
)
VALUES (
    :id, :product, :campaign, :number, :parent_digest, :config, :changes, :why_not_identical, :rationale, :hypothesis,
    :risk, :rollback, :source, :subject, :state, :created_at, :refusal
);

-- name: proposal_by_id
-- Finds one proposal.
SELECT * FROM proposals WHERE product = :product AND id = :id;

-- name: proposals_of_campaign
-- Lists the proposals, oldest first, those of trials from a least one on.
SELECT * FROM proposals WHERE product = :product AND campaign = :name AND number >= :least ORDER BY position;

-- name: newest_proposals
-- Lists the newest proposals of a product; an empty campaign or state is any.
SELECT * FROM proposals
WHERE product = :product AND (:name = '' OR campaign = :name) AND (:state = '' OR state = :state)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: move_proposal
-- Keeps what became of a proposal, unless another transaction has moved it since it was read.
UPDATE proposals SET state = :state, refusal = :refusal WHERE product = :product AND id = :id AND state = :was;

-- name: add_approval
-- Keeps a yes, or a waiver.
INSERT INTO approvals (product, campaign, subject_digest, approver, waiver, reason, granted_at, expires_at)
VALUES (:product, :campaign, :subject_digest, :approver, :waiver, :reason, :granted_at, :expires_at);

-- name: approvals_of_campaign
-- Lists the approvals, oldest first.
SELECT * FROM approvals WHERE product = :product AND campaign = :name ORDER BY position;
