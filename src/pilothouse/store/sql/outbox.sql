-- name: add_letter
-- Stores a letter that waits.
INSERT INTO letters (
    product, campaign, channel, key, kind, body, about, revision, state, tries, posted_at, not_before, last_error,
    remote, answer, ended_at
)
VALUES (
    :product, :campaign, :channel, :key, :kind, :body, :about, 1, 'waiting', 0, :now, :now, '', '', '{}', NULL
);

-- name: replace_letter
-- Puts a newer body in the place of the one that was posted, and lets the letter wait again.
UPDATE letters
SET body = :body, revision = revision + 1, state = 'waiting', tries = 0, posted_at = :now, not_before = :now,
    last_error = '', ended_at = NULL
WHERE number = :number AND revision = :revision;

-- name: letter_by_key
-- Finds one letter by its key.
SELECT * FROM letters WHERE product = :product AND channel = :channel AND key = :key;

-- name: letter_by_number
-- Finds one letter by its number.
SELECT * FROM letters WHERE number = :number;

-- name: letters_listed
-- Lists the newest letters, of one product, one channel, one state and one kind where these are not ''.
SELECT * FROM letters
WHERE (:product = '' OR product = :product) AND (:channel = '' OR channel = :channel)
    AND (:state = '' OR state = :state) AND (:kind = '' OR kind = :kind)
ORDER BY number DESC LIMIT :limit;

-- name: letters_asking
-- Lists the newest pull requests that stand outside and may ask for the approval of a proposal that is still open.
SELECT letters.* FROM letters
WHERE letters.channel = :channel AND letters.kind = 'pull_request' AND letters.state = 'sent'
    AND EXISTS (
        SELECT 1 FROM proposals
        WHERE proposals.product = letters.product AND proposals.campaign = letters.campaign
            AND proposals.state = 'open'
    )
ORDER BY letters.number DESC LIMIT :limit;

-- name: count_letters
-- Counts the letters by channel and state.
SELECT channel, state, count(*) AS letters FROM letters GROUP BY channel, state ORDER BY channel, state;

-- name: due_letter
-- Finds the oldest letter of a channel that may be delivered: what it is about has arrived, and nothing older about the
-- same waits.
SELECT letters.* FROM letters
WHERE letters.channel = :channel AND letters.state = 'waiting' AND letters.not_before <= :now
    AND (
        letters.about = ''
        OR (
            EXISTS (
                SELECT 1 FROM letters AS made
                WHERE made.product = letters.product AND made.channel = letters.channel AND made.key = letters.about
                    AND made.remote <> ''
            )
            AND NOT EXISTS (
                SELECT 1 FROM letters AS older
                WHERE older.product = letters.product AND older.channel = letters.channel
                    AND older.about = letters.about AND older.about <> '' AND older.state = 'waiting'
                    AND older.number < letters.number
            )
        )
    )
ORDER BY letters.number LIMIT 1;

-- name: begin_letter
-- Counts a try of a letter that is still the one that was due.
UPDATE letters SET tries = tries + 1
WHERE number = :number AND revision = :revision AND state = 'waiting';

-- name: letter_arrived
-- Keeps what stands outside, whatever was posted since.
UPDATE letters SET remote = :remote, answer = :answer WHERE number = :number;

-- name: letter_sent
-- Ends a letter that has arrived as it was posted last.
UPDATE letters SET state = 'sent', ended_at = :now, last_error = ''
WHERE number = :number AND revision = :revision AND state = 'waiting';

-- name: put_letter_off
-- Keeps when a letter is tried again, and why.
UPDATE letters SET not_before = :until, last_error = :why, tries = tries - :unmade
WHERE number = :number AND revision = :revision AND state = 'waiting';

-- name: drop_letter
-- Gives a letter up.
UPDATE letters SET state = 'dropped', ended_at = :now, last_error = :why
WHERE number = :number AND revision = :revision AND state = 'waiting';

-- name: retry_letter
-- Lets a letter that has not arrived be tried at once.
UPDATE letters SET state = 'waiting', ended_at = NULL, not_before = :now
WHERE number = :number AND revision = :revision AND state <> 'sent';

-- name: hold_of_channel
-- Finds until when a channel waits.
SELECT * FROM channel_holds WHERE channel = :channel;

-- name: put_hold
-- Keeps until when a channel waits.
INSERT INTO channel_holds (channel, until, why, strikes, closed)
VALUES (:channel, :until, :why, :strikes, :closed)
ON CONFLICT (channel) DO UPDATE SET
    until = excluded.until, why = excluded.why, strikes = excluded.strikes, closed = excluded.closed;

-- name: release_channel
-- Takes the hold of a channel away.
DELETE FROM channel_holds WHERE channel = :channel;

-- name: channel_writes
-- Lists when the remembered writes to a channel were begun, oldest first.
SELECT at FROM channel_writes WHERE channel = :channel ORDER BY at;

-- name: note_write
-- Keeps when a write is begun.
INSERT INTO channel_writes (channel, at) VALUES (:channel, :at);

-- name: forget_writes
-- Forgets the writes to a channel before a time.
DELETE FROM channel_writes WHERE channel = :channel AND at < :before;

-- name: set_writes_back
-- Takes the writes to a channel that are said to lie ahead for writes of this moment.
UPDATE channel_writes SET at = :now WHERE channel = :channel AND at > :now;

-- name: set_hold_back
-- Ends a hold that lasts longer than any does, or that was told by a clock by which the channel was written to in a time
-- that is still to come.
UPDATE channel_holds SET until = :now
WHERE channel = :channel AND until > :now
    AND (
        until > :latest
        OR EXISTS (
            SELECT 1 FROM channel_writes
            WHERE channel_writes.channel = channel_holds.channel AND channel_writes.at > :now
        )
    );

-- name: set_letters_back
-- Lets the letters that were put off for longer than any is, or posted in a time to come, be tried now.
UPDATE letters SET not_before = :now
WHERE channel = :channel AND state = 'waiting' AND not_before > :now AND (not_before > :latest OR posted_at > :now);

-- name: move_writes
-- Moves the writes to a channel with the clock.
UPDATE channel_writes SET at = at + :by WHERE channel = :channel;

-- name: move_hold
-- Moves the end of a hold with the clock.
UPDATE channel_holds SET until = until + :by WHERE channel = :channel;

-- name: move_letters
-- Moves the times of the letters that were put off with the clock, and lets all others be due: those that were, and
-- those that were posted since the clock was set.
UPDATE letters
SET not_before = CASE
    WHEN not_before > :before AND not_before > posted_at AND not_before + :by <= :latest THEN not_before + :by
    ELSE :now
END
WHERE channel = :channel AND state = 'waiting' AND (not_before > :before OR not_before > :now);

-- name: receive_hook
-- Keeps that a hook came, unless it came before.
INSERT INTO hook_deliveries (source, delivery, received_at) VALUES (:source, :delivery, :now)
ON CONFLICT (source, delivery) DO NOTHING;

-- name: forget_hooks
-- Forgets the hooks before a time.
DELETE FROM hook_deliveries WHERE received_at < :before;
