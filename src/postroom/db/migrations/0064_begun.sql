-- A process leaves a mark where it begins in a handler's log, until what follows is handled. Who is killed by that leaves it behind.

ALTER TABLE postroom.library_handler ADD COLUMN begun int NOT NULL DEFAULT 0;  -- processes that began behind this place and did not say what became of it

-- Whoever moves a handler, by whichever way, leaves no marks where it was. In the condition and not in the function, as nearly always there are none.
CREATE FUNCTION postroom.library_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.begun := 0;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION postroom.library_moved() FROM PUBLIC;
CREATE TRIGGER moved BEFORE UPDATE ON postroom.library_handler FOR EACH ROW
    WHEN (OLD.begun > 0 AND (NEW.position, NEW.stream, NEW.seq) <> (OLD.position, OLD.stream, OLD.seq))
    EXECUTE FUNCTION postroom.library_moved();

-- Not those that stopped because processes ended there: the application may have started because it was just killed again, by another one of them.
DROP FUNCTION postroom.library_resume(text[]);
CREATE FUNCTION postroom.library_resume(wanted text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    handlers bigint;
BEGIN
    UPDATE library_handler h
       SET failures = 0, retry_at = CASE WHEN h.begun > 0 THEN h.retry_at END, stopped_at = NULL
     WHERE h.name = ANY (wanted) AND h.failures > 0 AND (h.begun = 0 OR h.stopped_at IS NULL);
    GET DIAGNOSTICS handlers = ROW_COUNT;
    RETURN handlers;
END
$$;
CALL postroom.across_tenants('library_resume(text[])', 'library_handler');
