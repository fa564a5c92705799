-- As before, and: who is limited to some accounts finds nothing but their mail. A mail's vector says whose it is, and every match has passed
-- the index or the words themselves (`loose`).
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

CREATE OR REPLACE FUNCTION postroom.search_matches(
    tenant bigint, loose tsquery, narrow tsquery, exact tsquery, words tsquery, times timestamptz[], sizes bigint[],
    seen boolean, flagged boolean, folders bigint[], since timestamptz, until timestamptz, past_at timestamptz,
    past_id bigint, least_at timestamptz, least_id bigint, anchor timestamptz, counted int, looks int, ranked int
) RETURNS TABLE (
    message_id bigint, received_at timestamptz, score float8, matched bigint, is_cut boolean, end_at timestamptz, end_id bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = postroom, pg_temp SET plan_cache_mode = force_custom_plan SET hash_mem_multiplier = 8 AS $$
#variable_conflict use_column
DECLARE
    asks_seen    CONSTANT boolean := seen;
    asks_flagged CONSTANT boolean := flagged;
    checks       CONSTANT boolean := exact IS NOT NULL OR narrow::text <> loose::text;
    places       CONSTANT boolean := exact IS NOT NULL AND exact::text ~ '''(in|label):';
    is_timed     CONSTANT boolean := since IS NOT NULL OR until IS NOT NULL OR past_at IS NOT NULL OR least_at IS NOT NULL;
    hidden       bigint[];
BEGIN
    IF tenant IS NULL OR postroom.tenant() IS NULL OR tenant <> postroom.tenant() THEN
        RAISE EXCEPTION 'this transaction does not belong to tenant %', tenant USING ERRCODE = '42501';
    END IF;
    IF is_limited() THEN
        loose := loose && coalesce((SELECT string_agg(format('''a:%s''', a), ' | ') FROM unnest(accounts()) AS a), '''a:0''')::tsquery;
    END IF;
    hidden := ARRAY(SELECT m.id FROM mail_message m WHERE m.tenant_id = tenant AND m.unplaced_at IS NOT NULL);
    RETURN QUERY
    -- Planned with the arguments as constants: what is not asked for is not in the plan.
    WITH candidates AS MATERIALIZED (
        SELECT c.message_id, c.received_at
          FROM (SELECT d.message_id, d.received_at
                  FROM search_settled d
                 WHERE d.vector @@ loose AND d.tenant_id + 0 = tenant AND (NOT is_timed OR d.tenant_id = tenant)
                 UNION ALL
                SELECT d.message_id, d.received_at
                  FROM search_fresh d
                 WHERE d.vector @@ loose AND d.tenant_id = tenant) c
         WHERE (since IS NULL OR c.received_at >= since)
           AND (until IS NULL OR c.received_at < until)
           AND (past_at IS NULL OR (c.received_at, c.message_id) < (past_at, past_id))
           AND (least_at IS NULL OR (c.received_at, c.message_id) >= (least_at, least_id))
           AND (hidden = '{}' OR c.message_id <> ALL (hidden))
           AND (asks_seen IS NULL OR asks_seen <> (c.message_id IN (
                    SELECT m.id FROM mail_message m
                     WHERE m.tenant_id = tenant AND NOT m.seen AND m.unplaced_at IS NULL)))
           AND (asks_flagged IS NULL OR asks_flagged = (c.message_id IN (
                    SELECT m.id FROM mail_message m
                     WHERE m.tenant_id = tenant AND m.flagged AND m.unplaced_at IS NULL)))
           AND (folders IS NULL OR c.message_id IN (
                    SELECT p.message_id FROM mail_placement p
                     WHERE p.tenant_id = tenant AND p.folder_id = ANY(folders)))
    ), looked AS MATERIALIZED (
        SELECT c.message_id, c.received_at FROM candidates c
         WHERE checks
         ORDER BY c.received_at DESC, c.message_id DESC
         LIMIT looks
    ), checked AS MATERIALIZED (
        SELECT l.message_id, l.received_at
          FROM looked l
         WHERE (SELECT CASE WHEN exact IS NULL THEN d.vector @@ narrow
                       ELSE (d.vector || array_to_tsvector(array_remove(
                    ARRAY[CASE WHEN m.seen THEN 'is:read' END, CASE WHEN m.flagged THEN 'is:starred' END,
                          CASE WHEN m.answered THEN 'is:answered' END, CASE WHEN m.draft THEN 'is:draft' END]
                    || CASE WHEN places THEN ARRAY(
                           SELECT 'in:' || p.folder_id FROM mail_placement p
                            WHERE p.tenant_id = tenant AND p.message_id = d.message_id
                           UNION ALL
                           SELECT left('label:' || lower(flag), 500) FROM mail_placement p, unnest(p.flags) flag
                            WHERE p.tenant_id = tenant AND p.message_id = d.message_id) END
                    || CASE WHEN times <> '{}' THEN ARRAY(
                           SELECT 'time:' || n FROM unnest(times) WITH ORDINALITY AS bound (at, n)
                            WHERE d.received_at >= at) END
                    || CASE WHEN sizes <> '{}' THEN ARRAY(
                           SELECT 'size:' || n FROM unnest(sizes) WITH ORDINALITY AS bound (least, n)
                            WHERE m.size >= least) END, NULL))) @@ exact END
                  FROM search_document d
                  LEFT JOIN mail_message m ON exact IS NOT NULL AND m.tenant_id = tenant AND m.id = d.message_id
                 WHERE d.tenant_id = tenant AND d.message_id = l.message_id
                 LIMIT 1)
    ), newest AS MATERIALIZED (
        SELECT f.message_id, f.received_at
          FROM (SELECT * FROM candidates WHERE NOT checks UNION ALL SELECT * FROM checked) f
         ORDER BY f.received_at DESC, f.message_id DESC
         LIMIT ranked
    ), told AS MATERIALIZED (
        SELECT c.matched > ranked AS is_full, c.matched, checks AND c.found > looks AS is_cut
          FROM (SELECT found, CASE WHEN checks THEN (SELECT count(*) FROM checked) ELSE found END AS matched
                  FROM (SELECT count(*) AS found FROM candidates) n) c
    ), ending AS (
        SELECT t.matched, t.is_cut, CASE WHEN e.message_id IS NULL THEN least_at ELSE e.received_at END AS end_at,
               coalesce(e.message_id, least_id) AS end_id
          FROM told t
          LEFT JOIN LATERAL (
              SELECT b.message_id, b.received_at
                FROM (SELECT * FROM newest WHERE t.is_full UNION ALL SELECT * FROM looked WHERE t.is_cut AND NOT t.is_full) b
               ORDER BY b.received_at, b.message_id
               LIMIT 1
          ) e ON true
    )
    SELECT n.message_id, n.received_at,
           CASE WHEN words IS NULL THEN 0 WHEN n.message_id IS NOT NULL THEN (
               -- Half of the score fades with age, at the pace of half a year.
               SELECT ts_rank(d.vector, words, 1) * (0.5 + 0.5 * exp(
                          -least(greatest(extract(epoch FROM anchor - n.received_at)::float8 / 15552000, 0), 50)))
                 FROM search_document d
                WHERE d.tenant_id = tenant AND d.message_id = n.message_id
                LIMIT 1
           ) END,
           least(e.matched, counted), e.is_cut, e.end_at, e.end_id
      FROM ending e LEFT JOIN newest n ON true;
END
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;

GRANT EXECUTE ON FUNCTION postroom.search_matches(
    bigint, tsquery, tsquery, tsquery, tsquery, timestamptz[], bigint[], boolean, boolean, bigint[], timestamptz, timestamptz,
    timestamptz, bigint, timestamptz, bigint, timestamptz, int, int, int) TO postroom_limited;
