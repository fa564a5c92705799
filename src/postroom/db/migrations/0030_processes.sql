-- Which processes live: whoever waits for what one of them holds can tell that it is gone.

-- One row, and one renewal every few seconds, for each process, however much it holds: what it holds names it and needs
-- no renewal of its own. Processes work for all tenants, so the table belongs to none, and says nothing of any.
CREATE TABLE postroom.db_process (
    identity   text        PRIMARY KEY, -- machine, process, its start, and one more word: there may be several in one
    kind       text        NOT NULL,    -- what it is there for: 'executor', 'command' ...
    machine    text        NOT NULL,    -- its name, for people
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON postroom.db_process TO postroom_app;
GRANT SELECT ON postroom.db_process TO postroom_system;

-- Whether a process that is to be renewed by then counts as alive. While this server was away nobody could renew
-- anything: so for as long after its start as a renewal lasts nobody is dead.
CREATE FUNCTION postroom.db_is_alive(expires_at timestamptz) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN expires_at > clock_timestamp() OR clock_timestamp() < pg_postmaster_start_time() + interval '10 seconds';
GRANT EXECUTE ON FUNCTION postroom.db_is_alive(timestamptz) TO postroom_app, postroom_system;
