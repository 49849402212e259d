-- The outbox: letters to the world outside, what is known of their channels, and the hooks that came in.

CREATE TABLE letters (
    number INTEGER PRIMARY KEY,
    product TEXT NOT NULL CHECK (product <> ''),
    campaign TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel <> ''),
    key TEXT NOT NULL CHECK (key <> ''),
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    about TEXT NOT NULL CHECK (about <> key),
    revision INTEGER NOT NULL CHECK (revision >= 1),
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped')),
    tries INTEGER NOT NULL CHECK (tries >= 0),
    posted_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    remote TEXT NOT NULL,
    answer TEXT NOT NULL,
    ended_at INTEGER,
    UNIQUE (product, channel, key),
    CHECK ((state = 'waiting') = (ended_at IS NULL)),
    CHECK (state <> 'sent' OR remote <> '')
) STRICT;

CREATE INDEX letters_that_wait ON letters (channel, number) WHERE state = 'waiting';

CREATE INDEX letters_about ON letters (product, channel, about, number) WHERE state = 'waiting' AND about <> '';

CREATE TRIGGER letters_keep_their_names BEFORE UPDATE OF
    number, product, campaign, channel, key, kind, about
ON letters
BEGIN
    SELECT RAISE(ABORT, 'a letter keeps its key, its kind and what it is about');
END;

CREATE TRIGGER letters_change_by_revisions BEFORE UPDATE OF body ON letters
WHEN NEW.body <> OLD.body AND NEW.revision <= OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'another body is another revision of the letter');
END;

CREATE TRIGGER letters_are_never_deleted BEFORE DELETE ON letters
BEGIN
    SELECT RAISE(ABORT, 'a letter is never deleted');
END;

-- Until when a channel waits.
CREATE TABLE channel_holds (
    channel TEXT PRIMARY KEY CHECK (channel <> ''),
    until INTEGER NOT NULL,
    why TEXT NOT NULL,
    strikes INTEGER NOT NULL CHECK (strikes >= 0),
    closed INTEGER NOT NULL CHECK (closed IN (0, 1))
) STRICT;

-- When writes to a channel were begun, as far back as its limits reach.
CREATE TABLE channel_writes (
    position INTEGER PRIMARY KEY,
    channel TEXT NOT NULL CHECK (channel <> ''),
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX writes_of_channel ON channel_writes (channel, at);

-- The hooks that have come, so that none is heeded twice.
CREATE TABLE hook_deliveries (
    source TEXT NOT NULL CHECK (source <> ''),
    delivery TEXT NOT NULL CHECK (delivery <> ''),
    received_at INTEGER NOT NULL,
    PRIMARY KEY (source, delivery)
) STRICT;

CREATE INDEX hook_deliveries_by_age ON hook_deliveries (received_at);
