-- The rules of the hot tables, at less cost for each claim and completion.

-- A rule that is asked for each row before an update locks the row a second time and writes that to the log, also when
-- none of its columns is touched. Asked for the statement it refuses the same, sooner.
DROP TRIGGER jobs_keep_their_identity ON jobs;

CREATE TRIGGER jobs_keep_their_identity BEFORE UPDATE OF number, shape, priority, created_at ON jobs FOR EACH STATEMENT
EXECUTE FUNCTION refuse('the number, shape, priority and creation of a job never change');

-- Sessions and jobs are numbered without gaps and never deleted, so those up to the last one are there.
CREATE OR REPLACE FUNCTION check_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint;
    highest bigint;
BEGIN
    SELECT min(session), max(session) INTO lowest, highest FROM added;
    IF lowest < 1 OR highest > (SELECT coalesce(max(number), 0) FROM sessions) THEN
        RAISE EXCEPTION 'a job is held by a session that is stored' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION check_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint;
    highest bigint;
BEGIN
    SELECT min(job), max(job) INTO lowest, highest FROM added;
    IF lowest < 1 OR highest > (SELECT coalesce(max(number), 0) FROM jobs) THEN
        RAISE EXCEPTION 'an attempt has a job that is stored' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;
