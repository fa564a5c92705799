-- What asks for the people of a tenant is answered in that tenant's own transactions only. These functions look past
-- row-level security and took the tenant's word from whoever called them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

CREATE OR REPLACE FUNCTION postroom.people_member(of_tenant bigint, wanted uuid)
RETURNS TABLE (public_id uuid, name text, email text, role text, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    SELECT p.public_id, p.name, p.email, m.role, m.created_at
      FROM people_membership m JOIN people_person p ON p.id = m.person_id
     WHERE m.tenant_id = of_tenant AND m.tenant_id = tenant() AND p.public_id = wanted
$$;

CREATE OR REPLACE FUNCTION postroom.people_sessions(of_tenant bigint)
RETURNS TABLE (public_id uuid, person_id uuid, created_at timestamptz, expires_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    SELECT s.public_id, p.public_id, s.created_at, s.expires_at, s.last_used_at
      FROM people_session s JOIN people_person p ON p.id = s.person_id
     WHERE s.tenant_id = of_tenant AND s.tenant_id = tenant() AND s.revoked_at IS NULL AND s.expires_at > now()
     ORDER BY s.created_at, s.id
$$;

CREATE OR REPLACE FUNCTION postroom.people_new_link(of_tenant bigint, link bytea, good_for interval, fresh_person uuid)
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
DECLARE
    whose bigint;
    until timestamptz;
BEGIN
    IF of_tenant IS NULL OR tenant() IS NULL OR of_tenant <> tenant() THEN
        RAISE EXCEPTION 'this transaction does not belong to tenant %', of_tenant USING ERRCODE = '42501';
    END IF;
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

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
