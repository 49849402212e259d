-- name: resign
-- Gives the lead up, if it is still ours.
UPDATE leader SET holder = '', expires_at = 0 WHERE epoch = :epoch AND holder <> '';
