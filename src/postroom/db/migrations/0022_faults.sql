-- Which key seals the secrets of this database: a process that has another one is told so before it does anything.

-- One row, sealed with the newest key, and written by the first process that needs one. It is everybody's, so it
-- belongs to no tenant, and says nothing of any. Where a key is lost for good, an administrator deletes the row.
CREATE TABLE postroom.vault_check (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    sealed  text    NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON postroom.vault_check TO postroom_app;

-- How often in a row the database was away while a job ran, and in which try it was last.
ALTER TABLE postroom.jobs_job ADD COLUMN cuts smallint NOT NULL DEFAULT 0, ADD COLUMN cut_at int NOT NULL DEFAULT 0;

-- Count that for these, which have just ended.
CREATE FUNCTION postroom.jobs_cut(tenants bigint[], ids bigint[], fences int[]) RETURNS void
LANGUAGE sql AS $$
    UPDATE jobs_job j SET cut_at = j.attempts, cuts = CASE WHEN j.cut_at = j.attempts - 1 THEN j.cuts + 1 ELSE 1 END
      FROM unnest(tenants, ids, fences) AS e (tenant_id, id, fence)
     WHERE j.tenant_id = e.tenant_id AND j.id = e.id AND j.attempts = e.fence AND j.state = 'pending'
$$;
CALL postroom.across_tenants('jobs_cut(bigint[], bigint[], int[])', 'jobs_job');
