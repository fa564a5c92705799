-- Tenants and the keys of their applications.

CREATE TABLE people_tenant (
    tenant_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id  uuid        NOT NULL UNIQUE,
    name       text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL postroom.protect('people_tenant');

CREATE TABLE people_key (
    tenant_id    bigint      NOT NULL REFERENCES people_tenant ON DELETE CASCADE,
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id    uuid        NOT NULL UNIQUE,
    name         text        NOT NULL,
    start        text        NOT NULL,          -- the first characters, for people to tell keys apart
    digest       bytea       NOT NULL UNIQUE,   -- SHA-256 of the key, which has 256 random bits
    scopes       text[]      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CALL postroom.protect('people_key');

-- Two questions are asked before any tenant is known.

-- Who holds the key with this SHA-256?
CREATE FUNCTION people_find_key(wanted bytea)
RETURNS TABLE (tenant_id bigint, key_id bigint, public_id uuid, scopes text[], last_used_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT k.tenant_id, k.id, k.public_id, k.scopes, k.last_used_at
      FROM people_key k
     WHERE k.digest = wanted
       AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
CALL postroom.across_tenants('people_find_key(bytea)', 'people_key');

-- Which tenant has this name? Made when there is none yet.
CREATE FUNCTION people_tenant_named(wanted text, fresh uuid) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO people_tenant (public_id, name) VALUES (fresh, wanted)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING people_tenant.tenant_id
$$;
CALL postroom.across_tenants('people_tenant_named(text, uuid)', 'people_tenant');
GRANT INSERT, UPDATE ON people_tenant TO postroom_system;
