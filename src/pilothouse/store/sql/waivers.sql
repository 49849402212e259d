-- name: add_waiver
-- Keeps a waiver.
INSERT INTO waivers (
    id, product, campaign, granted_by, reason, knobs, buckets, risk, proposals, terms, granted_at, expires_at
)
VALUES (
    :id, :product, :campaign, :granted_by, :reason, :knobs, :buckets, :risk, :proposals, :terms, :granted_at, :expires_at
);

-- name: end_waiver
-- Ends a waiver before its time.
UPDATE waivers SET ended_at = :ended_at, ended_by = :ended_by WHERE product = :product AND id = :id;

-- name: waivers_of_campaign
-- Lists the waivers with how many proposals each has let through, oldest first.
SELECT waivers.*, (
    SELECT count(*) FROM admissions
    WHERE admissions.product = waivers.product AND admissions.waiver = waivers.id
) AS used
FROM waivers WHERE product = :product AND campaign = :name ORDER BY position;

-- name: add_admission
-- Keeps who opened the gate for a proposal.
INSERT INTO admissions (product, campaign, proposal, subject_digest, approver, waiver, at)
VALUES (:product, :campaign, :proposal, :subject_digest, :approver, :waiver, :at);

-- name: admission_of_proposal
-- Finds who opened the gate for a proposal.
SELECT * FROM admissions WHERE product = :product AND proposal = :proposal;
