-- How the queue does, in numbers.

-- The list of what failed, and how often for which reason; few jobs do.
CREATE INDEX jobs_job_failed ON postroom.jobs_job (tenant_id, id) INCLUDE (error_code, finished_at) WHERE state = 'failed';

-- Of all tenants together, for the metrics: `jobs` of one kind, and the `oldest` of them. Each kind has its own
-- partial index. Of what came through only the ends of the last `recent` are counted.
CREATE FUNCTION postroom.jobs_overview(recent interval)
RETURNS TABLE (what text, label text, jobs bigint, oldest timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT 'ready', '', count(*), min(j.run_at) FROM jobs_job j WHERE j.state = 'pending' AND j.place = 0
    UNION ALL
    SELECT 'later', '', count(*), min(j.run_at) FROM jobs_job j WHERE j.state = 'pending' AND j.place = 1
    UNION ALL
    SELECT 'behind', '', count(*), min(j.run_at) FROM jobs_job j WHERE j.state = 'pending' AND j.place = 2
    UNION ALL
    SELECT 'running', j.holder, count(*), min(j.started_at) FROM jobs_job j WHERE j.state = 'running' GROUP BY j.holder
    UNION ALL
    SELECT 'failed', coalesce(j.error_code, ''), count(*), min(j.finished_at) FROM jobs_job j
     WHERE j.state = 'failed' GROUP BY j.error_code
    UNION ALL
    SELECT 'ended', j.state, count(*), min(j.finished_at) FROM jobs_job j
     WHERE j.finished_at > now() - recent GROUP BY j.state
$$;
CALL postroom.across_tenants('jobs_overview(interval)', 'jobs_job');
