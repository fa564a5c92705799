-- The words of every mail, and the one function that may look them up with an index.

-- New rows are fresh: no GIN index, so that storing mail never waits for one, and no other tenant's search
-- meets them. `settle` in search/store moves them on in batches. A search reads both parts.
CREATE TABLE postroom.search_document (
    tenant_id   bigint      NOT NULL,
    message_id  bigint      NOT NULL,
    account_id  bigint      NOT NULL,
    received_at timestamptz NOT NULL,
    settled     boolean     NOT NULL DEFAULT false,
    vector      tsvector    NOT NULL,           -- made by search/document, with the lexemes o:TENANT and a:ACCOUNT
    PRIMARY KEY (tenant_id, message_id, settled),
    FOREIGN KEY (tenant_id, message_id) REFERENCES postroom.mail_message (tenant_id, id) ON DELETE CASCADE
) PARTITION BY LIST (settled);
CREATE TABLE postroom.search_fresh PARTITION OF postroom.search_document FOR VALUES IN (false);
CREATE TABLE postroom.search_settled PARTITION OF postroom.search_document FOR VALUES IN (true);
CREATE INDEX search_document_newest ON postroom.search_document (tenant_id, received_at DESC, message_id DESC);
CREATE INDEX search_settled_vector ON postroom.search_settled USING gin (vector);
-- Most vectors fit a page when that is allowed; compressing them would cost more than making them.
ALTER TABLE postroom.search_fresh ALTER vector SET STORAGE EXTERNAL, SET (toast_tuple_target = 8160);
ALTER TABLE postroom.search_settled ALTER vector SET STORAGE EXTERNAL, SET (toast_tuple_target = 8160);
CALL postroom.protect('search_document');
CALL postroom.protect('search_fresh');
CALL postroom.protect('search_settled');

-- PostgreSQL gathers new entries and sorts them in together; the more, the cheaper a mail. Every search reads
-- what is gathered, hence the bound, in kB.
ALTER INDEX postroom.search_settled_vector SET (gin_pending_list_limit = 32768);

-- The newest `ranked` matches, each with its score and with how many match in all (counted up to `counted`).
-- It is called for the tenant of the transaction and no other; null means no bound. See search/compile for
-- narrow and exact, search/find for the windows that (past_at, past_id) begins. What changes about a mail is
-- made into lexemes here: is:read, in:FOLDER, label:KEYWORD, time:N and size:N for the Nth bound.
CREATE FUNCTION postroom.search_matches(
    tenant bigint, narrow tsquery, exact tsquery, words tsquery, times timestamptz[], sizes bigint[],
    seen boolean, flagged boolean, since timestamptz, until timestamptz, past_at timestamptz, past_id bigint,
    anchor timestamptz, counted int, ranked int
) RETURNS TABLE (message_id bigint, received_at timestamptz, score float8, matched bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    asks_seen    CONSTANT boolean := seen;
    asks_flagged CONSTANT boolean := flagged;
    joins        CONSTANT boolean := exact IS NOT NULL OR seen IS NOT NULL OR flagged IS NOT NULL;
    places       CONSTANT boolean := exact IS NOT NULL AND exact::text ~ '''(in|label):';
BEGIN
    IF tenant IS NULL OR postroom.tenant() IS NULL OR tenant <> postroom.tenant() THEN
        RAISE EXCEPTION 'this transaction does not belong to tenant %', tenant USING ERRCODE = '42501';
    END IF;
    RETURN QUERY
    -- Planned with the arguments as constants: only one of the two halves is ever in the plan.
    WITH found AS MATERIALIZED (
        (SELECT d.message_id, d.received_at
           FROM search_document d
          WHERE NOT joins
            AND d.tenant_id = tenant
            AND d.vector @@ narrow
            AND (since IS NULL OR d.received_at >= since)
            AND (until IS NULL OR d.received_at < until)
            AND (past_at IS NULL OR (d.received_at, d.message_id) < (past_at, past_id))
            AND d.message_id NOT IN (SELECT m.id FROM mail_message m
                                      WHERE m.tenant_id = tenant AND m.unplaced_at IS NOT NULL)
          ORDER BY d.received_at DESC, d.message_id DESC
          LIMIT counted)
        UNION ALL
        (SELECT d.message_id, d.received_at
           FROM search_document d
           JOIN mail_message m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
          WHERE joins
            AND d.tenant_id = tenant
            AND d.vector @@ narrow
            AND (since IS NULL OR d.received_at >= since)
            AND (until IS NULL OR d.received_at < until)
            AND (past_at IS NULL OR (d.received_at, d.message_id) < (past_at, past_id))
            AND m.unplaced_at IS NULL
            AND CASE asks_seen WHEN true THEN m.seen WHEN false THEN NOT m.seen ELSE true END
            AND CASE asks_flagged WHEN true THEN m.flagged WHEN false THEN NOT m.flagged ELSE true END
            AND CASE WHEN exact IS NULL THEN true ELSE (d.vector || array_to_tsvector(array_remove(
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
          ORDER BY d.received_at DESC, d.message_id DESC
          LIMIT counted)
    ), newest AS MATERIALIZED (
        SELECT f.message_id, f.received_at FROM found f
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
           (SELECT count(*) FROM found)
      FROM newest n;
END
$$;
CALL postroom.across_tenants(
    'search_matches(bigint, tsquery, tsquery, tsquery, timestamptz[], bigint[], boolean, boolean, timestamptz,'
    ' timestamptz, timestamptz, bigint, timestamptz, int, int)',
    'search_document', 'search_fresh', 'search_settled', 'mail_message', 'mail_placement');
-- Planned anew each time: whether the index or the order of time is the way in depends on the words.
ALTER FUNCTION postroom.search_matches SET plan_cache_mode = force_custom_plan;

-- Tenants with mail that waits to be settled.
CREATE FUNCTION postroom.search_unsettled(most int) RETURNS TABLE (tenant_id bigint)
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE waiting AS (
        (SELECT d.tenant_id FROM search_fresh d ORDER BY d.tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.tenant_id FROM search_fresh d WHERE d.tenant_id > w.tenant_id
                 ORDER BY d.tenant_id LIMIT 1)
          FROM waiting w WHERE w.tenant_id IS NOT NULL
    )
    SELECT w.tenant_id FROM waiting w WHERE w.tenant_id IS NOT NULL LIMIT most
$$;
CALL postroom.across_tenants('search_unsettled(int)', 'search_fresh');
