-- name: add_token
-- Stores a token.
INSERT INTO tokens (id, kind, name, role, product, factory, digest, created_at, expires_at, revoked_at, used_at)
VALUES (
    :id, :kind, :name, :role, :product, :factory, :digest, :created_at, :expires_at, :revoked_at, :used_at
);

-- name: token_by_id
-- Finds one token.
SELECT * FROM tokens WHERE id = :id;

-- name: tokens_of_product
-- Lists the tokens of one product, oldest first.
SELECT * FROM tokens WHERE product = :product ORDER BY position;

-- name: all_tokens
-- Lists every token, oldest first.
SELECT * FROM tokens ORDER BY position;

-- name: revoke_token
-- Ends a token at a time, unless it ends before.
UPDATE tokens SET revoked_at = :now WHERE id = :id AND (revoked_at IS NULL OR revoked_at > :now);

-- name: consume_token
-- Uses up an enrolment token that is still good.
UPDATE tokens SET used_at = :now
WHERE id = :id AND kind = 'enrolment' AND used_at IS NULL
    AND (revoked_at IS NULL OR revoked_at > :now) AND (expires_at IS NULL OR expires_at > :now);
