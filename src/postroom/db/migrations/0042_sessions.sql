-- Signing in without an issuer: links that are good once, and the sessions that they open.

CREATE TABLE postroom.people_link (
    tenant_id  bigint      NOT NULL,
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id  bigint      NOT NULL,
    digest     bytea       NOT NULL UNIQUE,   -- SHA-256 of 256 random bits
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    FOREIGN KEY (tenant_id, person_id) REFERENCES postroom.people_membership (tenant_id, person_id) ON DELETE CASCADE
);
CREATE INDEX people_link_person ON postroom.people_link (tenant_id, person_id);
CALL postroom.protect('people_link');

CREATE TABLE postroom.people_session (
    tenant_id    bigint      NOT NULL,
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id    uuid        NOT NULL UNIQUE,
    person_id    bigint      NOT NULL,
    digest       bytea       NOT NULL UNIQUE,   -- SHA-256 of 256 random bits
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    FOREIGN KEY (tenant_id, person_id) REFERENCES postroom.people_membership (tenant_id, person_id) ON DELETE CASCADE
);
CREATE INDEX people_session_person ON postroom.people_session (tenant_id, person_id);
CALL postroom.protect('people_session');

-- A link for whoever holds this machine, made an admin of the tenant. What is long over is forgotten on the way.
CREATE FUNCTION postroom.people_new_link(of_tenant bigint, link bytea, good_for interval, fresh_person uuid)
RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    whose bigint;
    until timestamptz;
BEGIN
    DELETE FROM people_link l WHERE l.tenant_id = of_tenant AND l.expires_at < now() - interval '1 day';
    DELETE FROM people_session s WHERE s.tenant_id = of_tenant AND s.expires_at < now() - interval '1 day';
    INSERT INTO people_person AS p (public_id, issuer, subject, name) VALUES (fresh_person, '', of_tenant::text, 'operator')
    ON CONFLICT (issuer, subject) DO UPDATE SET seen_at = now()
    RETURNING p.id INTO whose;
    INSERT INTO people_membership (tenant_id, person_id, role) VALUES (of_tenant, whose, 'admin')
    ON CONFLICT (tenant_id, person_id) DO UPDATE SET seen_at = now();
    INSERT INTO people_link (tenant_id, person_id, digest, expires_at) VALUES (of_tenant, whose, link, now() + good_for)
    RETURNING expires_at INTO until;
    RETURN until;
END
$$;

-- Uses a link up, and opens a session; of two who come with the same link one gets it. No row: it is not good.
CREATE FUNCTION postroom.people_use_link(link bytea, session bytea, good_for interval, fresh uuid)
RETURNS TABLE (tenant bigint, session_id uuid)
LANGUAGE sql AS $$
    WITH used AS (
        UPDATE people_link l SET used_at = now()
         WHERE l.digest = link AND l.used_at IS NULL AND l.expires_at > now()
        RETURNING l.tenant_id, l.person_id
    )
    INSERT INTO people_session AS s (tenant_id, person_id, public_id, digest, expires_at)
    SELECT u.tenant_id, u.person_id, fresh, session, now() + good_for FROM used u
    RETURNING s.tenant_id, s.public_id
$$;

-- Whose session is this?
CREATE FUNCTION postroom.people_find_session(wanted bytea)
RETURNS TABLE (tenant bigint, id bigint, public_id uuid, person uuid, role text, last_used_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT s.tenant_id, s.id, s.public_id, p.public_id, m.role, s.last_used_at
      FROM people_session s
      JOIN people_membership m ON m.tenant_id = s.tenant_id AND m.person_id = s.person_id
      JOIN people_person p ON p.id = s.person_id
     WHERE s.digest = wanted AND s.revoked_at IS NULL AND s.expires_at > now()
$$;

-- A tenant's sessions that are open.
CREATE FUNCTION postroom.people_sessions(of_tenant bigint)
RETURNS TABLE (public_id uuid, person_id uuid, created_at timestamptz, expires_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT s.public_id, p.public_id, s.created_at, s.expires_at, s.last_used_at
      FROM people_session s JOIN people_person p ON p.id = s.person_id
     WHERE s.tenant_id = of_tenant AND s.revoked_at IS NULL AND s.expires_at > now()
     ORDER BY s.created_at, s.id
$$;

CALL postroom.across_tenants('people_new_link(bigint, bytea, interval, uuid)', 'people_link', 'people_session', 'people_membership');
CALL postroom.across_tenants('people_use_link(bytea, bytea, interval, uuid)', 'people_link', 'people_session');
CALL postroom.across_tenants('people_find_session(bytea)', 'people_session', 'people_membership');
CALL postroom.across_tenants('people_sessions(bigint)', 'people_session');
GRANT INSERT, UPDATE, DELETE ON postroom.people_link, postroom.people_session TO postroom_system;
