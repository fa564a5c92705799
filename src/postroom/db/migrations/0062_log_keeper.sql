-- Sealing the log, saying what of it was removed and removing that are for postroom_system, as which these few statements are run. postroom_app
-- appends, and can take nothing away: not by a row that calls everything removed, either, of which the next round would make it true.
REVOKE EXECUTE ON FUNCTION postroom.events_sweep(int) FROM postroom_app;
REVOKE INSERT, UPDATE, DELETE ON postroom.events_removed FROM postroom_app;
REVOKE INSERT ON postroom.events_seal FROM postroom_app;
GRANT INSERT, UPDATE ON postroom.events_removed TO postroom_system;
GRANT INSERT ON postroom.events_seal TO postroom_system;
-- For its tenant only: `events_sweep` looks across no others.
DROP POLICY system ON postroom.events_removed;
