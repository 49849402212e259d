-- The outbox: letters to the world outside, what is known of their channels, and the hooks that came in.

CREATE TABLE letters (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text COLLATE "C" NOT NULL CHECK (product <> ''),
    campaign text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL CHECK (channel <> ''),
    key text COLLATE "C" NOT NULL CHECK (key <> ''),
    kind text COLLATE "C" NOT NULL,
    body text COLLATE "C" NOT NULL,
    about text COLLATE "C" NOT NULL CHECK (about <> key),
    revision bigint NOT NULL CHECK (revision >= 1),
    state text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped')),
    tries bigint NOT NULL CHECK (tries >= 0),
    posted_at bigint NOT NULL,
    not_before bigint NOT NULL,
    last_error text COLLATE "C" NOT NULL,
    remote text COLLATE "C" NOT NULL,
    answer text COLLATE "C" NOT NULL,
    ended_at bigint,
    UNIQUE (product, channel, key),
    CHECK ((state = 'waiting') = (ended_at IS NULL)),
    CHECK (state <> 'sent' OR remote <> '')
);

CREATE INDEX letters_that_wait ON letters (channel, number) WHERE state = 'waiting';

CREATE INDEX letters_about ON letters (product, channel, about, number) WHERE state = 'waiting' AND about <> '';

CREATE TRIGGER letters_keep_their_names BEFORE UPDATE OF
    number, product, campaign, channel, key, kind, about
ON letters FOR EACH ROW
EXECUTE FUNCTION refuse('a letter keeps its key, its kind and what it is about');

CREATE TRIGGER letters_change_by_revisions BEFORE UPDATE OF body ON letters FOR EACH ROW
WHEN (NEW.body <> OLD.body AND NEW.revision <= OLD.revision)
EXECUTE FUNCTION refuse('another body is another revision of the letter');

CREATE TRIGGER letters_are_never_deleted BEFORE DELETE ON letters FOR EACH ROW
EXECUTE FUNCTION refuse('a letter is never deleted');

CREATE TRIGGER letters_are_never_emptied BEFORE TRUNCATE ON letters FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a letter is never deleted');

-- Until when a channel waits.
CREATE TABLE channel_holds (
    channel text COLLATE "C" PRIMARY KEY CHECK (channel <> ''),
    until bigint NOT NULL,
    why text COLLATE "C" NOT NULL,
    strikes bigint NOT NULL CHECK (strikes >= 0),
    closed bigint NOT NULL CHECK (closed IN (0, 1))
);

-- When writes to a channel were begun, as far back as its limits reach.
CREATE TABLE channel_writes (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text COLLATE "C" NOT NULL CHECK (channel <> ''),
    at bigint NOT NULL
);

CREATE INDEX writes_of_channel ON channel_writes (channel, at);

-- The hooks that have come, so that none is heeded twice.
CREATE TABLE hook_deliveries (
    source text COLLATE "C" NOT NULL CHECK (source <> ''),
    delivery text COLLATE "C" NOT NULL CHECK (delivery <> ''),
    received_at bigint NOT NULL,
    PRIMARY KEY (source, delivery)
);

CREATE INDEX hook_deliveries_by_age ON hook_deliveries (received_at);
