-- A search reads of most mails only when they came; words lie apart from that. A page then holds a hundred mails, and was
-- one mail before. Mails whose words fit 2 kB keep them with the rest: PostgreSQL does not move those. What is settled already
-- stays as it is until `VACUUM FULL postroom.search_settled`.
ALTER TABLE postroom.search_settled SET (toast_tuple_target = 128);

-- As before, except:
--
-- - The index answers alone (`loose`). What it cannot know (`narrow` of a phrase, `exact`) is checked mail by mail, the newest first,
--   until `counted` match.
-- - What is unread or starred, or lies in `folders`, is read from an index as a whole, not for each mail.
-- - The tenant is a lexeme, so the index of time is of use only where times are asked for.
CREATE FUNCTION postroom.search_matches(
    tenant bigint, loose tsquery, narrow tsquery, exact tsquery, words tsquery, times timestamptz[], sizes bigint[],
    seen boolean, flagged boolean, folders bigint[], since timestamptz, until timestamptz, past_at timestamptz,
    past_id bigint, anchor timestamptz, counted int, ranked int
) RETURNS TABLE (message_id bigint, received_at timestamptz, score float8, matched bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    asks_seen    CONSTANT boolean := seen;
    asks_flagged CONSTANT boolean := flagged;
    checks       CONSTANT boolean := exact IS NOT NULL OR narrow::text <> loose::text;
    places       CONSTANT boolean := exact IS NOT NULL AND exact::text ~ '''(in|label):';
    is_timed     CONSTANT boolean := since IS NOT NULL OR until IS NOT NULL OR past_at IS NOT NULL;
    hidden       bigint[];
BEGIN
    IF tenant IS NULL OR postroom.tenant() IS NULL OR tenant <> postroom.tenant() THEN
        RAISE EXCEPTION 'this transaction does not belong to tenant %', tenant USING ERRCODE = '42501';
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
    ), checked AS MATERIALIZED (
        SELECT c.message_id, c.received_at
          FROM (SELECT * FROM candidates WHERE checks ORDER BY received_at DESC, message_id DESC) c
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
                  WHERE d.tenant_id = tenant AND d.message_id = c.message_id
                  LIMIT 1)
         LIMIT counted
    ), newest AS MATERIALIZED (
        SELECT f.message_id, f.received_at
          FROM (SELECT * FROM candidates WHERE NOT checks UNION ALL SELECT * FROM checked WHERE checks) f
         ORDER BY f.received_at DESC, f.message_id DESC
         LIMIT ranked
    )
    SELECT n.message_id, n.received_at,
           CASE WHEN words IS NULL THEN 0 ELSE (
               -- Half of the score fades with age, at the pace of half a year.
               SELECT ts_rank(d.vector, words, 1) * (0.5 + 0.5 * exp(
                          -least(greatest(extract(epoch FROM anchor - n.received_at)::float8 / 15552000, 0), 50)))
                 FROM search_document d
                WHERE d.tenant_id = tenant AND d.message_id = n.message_id
                LIMIT 1
           ) END,
           least(CASE WHEN checks THEN (SELECT count(*) FROM checked) ELSE (SELECT count(*) FROM candidates) END,
                 counted)
      FROM newest n;
END
$$;
CALL postroom.across_tenants(
    'search_matches(bigint, tsquery, tsquery, tsquery, tsquery, timestamptz[], bigint[], boolean, boolean, bigint[],'
    ' timestamptz, timestamptz, timestamptz, bigint, timestamptz, int, int)',
    'search_document', 'search_fresh', 'search_settled', 'mail_message', 'mail_placement');
-- Planned anew each time: whether the index or the order of time is the way in depends on the words.
ALTER FUNCTION postroom.search_matches(bigint, tsquery, tsquery, tsquery, tsquery, timestamptz[], bigint[], boolean, boolean,
    bigint[], timestamptz, timestamptz, timestamptz, bigint, timestamptz, int, int) SET plan_cache_mode = force_custom_plan;
-- Of which sets of messages the planner makes tables to look into: some millions of them.
ALTER FUNCTION postroom.search_matches(bigint, tsquery, tsquery, tsquery, tsquery, timestamptz[], bigint[], boolean, boolean,
    bigint[], timestamptz, timestamptz, timestamptz, bigint, timestamptz, int, int) SET hash_mem_multiplier = 8;
