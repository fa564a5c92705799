-- Content leaves the rows of blobs for pages of its own, each a row that fills a page of PostgreSQL. TOAST
-- cuts values into pieces of 2 KB; and rows that come one by one make a table grow by one page at a time, where
-- COPY makes it grow by many. Together that halves what storing a mail costs the database.
--
-- PostgreSQL refuses COPY into a table under row-level security, so the wall around this one is made of rights:
-- postroom_app may add pages, and never see, change or remove one. `content` is a number that means nothing
-- without the blob that bears it; blobs are behind the usual wall, and the two functions below ask them.
CREATE TABLE postroom.blobs_page (
    content bigint NOT NULL,
    chunk   int    NOT NULL,                    -- 0, 1, ...: which 4 MiB of the original, one zstd frame each
    number  int    NOT NULL,                    -- of the page in its chunk
    data    bytea  NOT NULL,                    -- up to 8,000 bytes of the frame
    PRIMARY KEY (content, chunk, number)
);
ALTER TABLE postroom.blobs_page ALTER data SET STORAGE PLAIN;
GRANT INSERT ON postroom.blobs_page TO postroom_app;
GRANT SELECT, DELETE ON postroom.blobs_page TO postroom_system;

ALTER TABLE postroom.blobs_blob NO FORCE ROW LEVEL SECURITY;
ALTER TABLE postroom.blobs_chunk NO FORCE ROW LEVEL SECURITY;
ALTER TABLE postroom.blobs_blob ADD content bigint NOT NULL GENERATED ALWAYS AS IDENTITY;
INSERT INTO postroom.blobs_page
SELECT b.content, c.chunk, n, substr(c.data, n * 8000 + 1, 8000)
  FROM postroom.blobs_blob b,
       LATERAL (SELECT 0 AS chunk, b.head AS data
                UNION ALL
                SELECT f.number, f.data FROM postroom.blobs_chunk f
                 WHERE (f.tenant_id, f.digest) = (b.tenant_id, b.digest)) AS c,
       generate_series(0, (length(c.data) - 1) / 8000) AS n;
DROP TABLE postroom.blobs_chunk;
ALTER TABLE postroom.blobs_blob DROP head;
ALTER TABLE postroom.blobs_blob FORCE ROW LEVEL SECURITY;

-- One chunk of a blob of this transaction's tenant; NULL when there is none.
CREATE FUNCTION postroom.blobs_chunk(wanted bytea, nth int) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT string_agg(p.data, ''::bytea ORDER BY p.number)
      FROM blobs_blob b JOIN blobs_page p ON p.content = b.content AND p.chunk = nth
     WHERE b.tenant_id = tenant() AND b.digest = wanted
$$;
CALL postroom.across_tenants('blobs_chunk(bytea, int)', 'blobs_blob');

-- Pages go with their blob, however that goes.
CREATE FUNCTION postroom.blobs_drop_pages() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM blobs_page p USING gone WHERE p.content = gone.content;
    RETURN NULL;
END
$$;
CALL postroom.across_tenants('blobs_drop_pages()', 'blobs_blob');
CREATE TRIGGER drop_pages AFTER DELETE ON postroom.blobs_blob
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postroom.blobs_drop_pages();
