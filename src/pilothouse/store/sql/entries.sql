-- name: append_entry
-- Appends an entry; the table refuses one that does not follow the last.
INSERT INTO entries (
    product, thread, number, at, label, hypothesis, command, config, result, interpretation, next_action, confidence,
    evidence, previous_hash, hash
)
VALUES (
    :product, :thread, :number, :at, :label, :hypothesis, :command, :config, :result, :interpretation, :next_action,
    :confidence, :evidence, :previous_hash, :hash
);

-- name: last_entry
-- Finds the entry that the next one must follow.
SELECT * FROM entries WHERE product = :product AND thread = :thread ORDER BY number DESC LIMIT 1;

-- name: entries_of_thread
-- Lists the entries by number.
SELECT * FROM entries WHERE product = :product AND thread = :thread ORDER BY number;

-- name: threads_of_product
-- Lists the threads by name.
SELECT DISTINCT thread FROM entries WHERE product = :product ORDER BY thread;
