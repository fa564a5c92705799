-- Row-level security does not guard pages, so rights must do all of it. They left three ways around:
-- who may insert into an identity column may also name its value (OVERRIDING SYSTEM VALUE) and so bear another
-- tenant's content; a page with a negative number came before those that are there; and who may execute a
-- trigger's function may hang it on a table of their own, here to delete any page.
REVOKE INSERT, UPDATE ON postroom.blobs_blob FROM postroom_app;
GRANT INSERT (tenant_id, digest, size, refs), UPDATE (refs) ON postroom.blobs_blob TO postroom_app;

ALTER TABLE postroom.blobs_page ADD CHECK (chunk >= 0 AND number >= 0);

REVOKE EXECUTE ON FUNCTION postroom.blobs_drop_pages() FROM postroom_app;
