-- Who is limited to some accounts reads no sealed secret, not theirs either: no route shows one, and what uses one runs without limits.
-- So of this table they have rights to its columns and not to the whole. A later column is theirs once it is granted, too.
DO $$
DECLARE
    others text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'postroom.accounts_account'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'secret');
BEGIN
    REVOKE SELECT, UPDATE ON postroom.accounts_account FROM postroom_limited;
    EXECUTE format('GRANT SELECT (%s), UPDATE (%1$s) ON postroom.accounts_account TO postroom_limited', others);
END
$$;
