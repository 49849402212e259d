-- name: append_audit
-- Appends a line.
INSERT INTO audit (at, product, actor, token, act, object, detail, before, after)
VALUES (:at, :product, :actor, :token, :act, :object, :detail, :before, :after);

-- name: audit_of_product
-- Lists the newest lines about one product before a position, of one actor and one object where these are not ''.
SELECT * FROM audit
WHERE product = :product AND position < :earlier_than
    AND (:actor = '' OR actor = :actor) AND (:object = '' OR object = :object)
ORDER BY position DESC LIMIT :limit;

-- name: all_audit
-- Lists the newest lines before a position, of one actor and one object where these are not ''.
SELECT * FROM audit
WHERE position < :earlier_than
    AND (:actor = '' OR actor = :actor) AND (:object = '' OR object = :object)
ORDER BY position DESC LIMIT :limit;
