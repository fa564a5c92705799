-- The walls between tenants, and the table of leases. See README.md for the conventions.

GRANT USAGE ON SCHEMA postroom TO postroom_app, postroom_system;

-- The tenant of this transaction, or NULL, which equals nothing: without a tenant there are no rows.
-- After a SET LOCAL has ended the setting reads '' in that session, hence NULLIF.
CREATE FUNCTION postroom.tenant() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('postroom.tenant', true), '')::bigint;

-- Puts a table of schema postroom behind the wall: CALL postroom.protect('mail_message');
CREATE PROCEDURE postroom.protect(named text)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE postroom.%I ENABLE ROW LEVEL SECURITY', named);
    EXECUTE format('ALTER TABLE postroom.%I FORCE ROW LEVEL SECURITY', named);
    EXECUTE format(
        'CREATE POLICY tenant ON postroom.%I USING (tenant_id = postroom.tenant())'
        ' WITH CHECK (tenant_id = postroom.tenant())', named);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON postroom.%I TO postroom_app', named);
END
$$;

-- Lets one function look across tenants in the tables named, and nowhere else:
-- CALL postroom.across_tenants('sync_due(integer)', 'sync_account');
CREATE PROCEDURE postroom.across_tenants(signature text, VARIADIC tables text[])
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named text;
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION postroom.%s FROM PUBLIC', signature);
    EXECUTE format('GRANT EXECUTE ON FUNCTION postroom.%s TO postroom_app', signature);
    EXECUTE format('ALTER FUNCTION postroom.%s SECURITY DEFINER', signature);
    EXECUTE format('ALTER FUNCTION postroom.%s SET search_path = postroom, pg_temp', signature);
    FOREACH named IN ARRAY tables LOOP
        IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = format('postroom.%I', named)::regclass
                                               AND polname = 'system') THEN
            EXECUTE format('CREATE POLICY system ON postroom.%I TO postroom_system USING (true)', named);
            EXECUTE format('GRANT SELECT ON postroom.%I TO postroom_system', named);
        END IF;
    END LOOP;
    -- A function's new owner must be able to create in its schema, but only for this moment.
    GRANT CREATE ON SCHEMA postroom TO postroom_system;
    EXECUTE format('ALTER FUNCTION postroom.%s OWNER TO postroom_system', signature);
    REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
END
$$;

REVOKE ALL ON PROCEDURE postroom.protect(text) FROM PUBLIC;
REVOKE ALL ON PROCEDURE postroom.across_tenants(text, text[]) FROM PUBLIC;

CREATE TABLE postroom.db_lease (
    tenant_id  bigint      NOT NULL,
    name       text        NOT NULL,
    holder     text        NOT NULL,
    token      bigint      NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name),
    -- Makes a growing token a change of key: a takeover waits for FOR KEY SHARE, a renewal does not.
    UNIQUE (tenant_id, name, token)
);
CALL postroom.protect('db_lease');
