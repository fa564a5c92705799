-- People: who they are, and of which tenants they are members.

-- A tenant is an organisation, or a person alone, as an issuer names them; or has a name of ours and no issuer. Only
-- the latter are found by their name: the others' names are for people to read, and strangers choose them.
ALTER TABLE postroom.people_tenant
    ADD COLUMN issuer       text,
    ADD COLUMN organization text,
    ADD COLUMN subject      text,
    ADD CHECK (num_nonnulls(organization, subject) = num_nonnulls(issuer)),
    DROP CONSTRAINT people_tenant_name_key;
CREATE UNIQUE INDEX people_tenant_own ON postroom.people_tenant (name) WHERE issuer IS NULL;
CREATE UNIQUE INDEX people_tenant_organization ON postroom.people_tenant (issuer, organization) WHERE organization IS NOT NULL;
CREATE UNIQUE INDEX people_tenant_subject ON postroom.people_tenant (issuer, subject) WHERE subject IS NOT NULL;

-- Somebody may be a member of many tenants, so a person belongs to none, and no policy can tell whose row this is.
-- Instead the running role has no right to the table at all: it is behind the functions below.
CREATE TABLE postroom.people_person (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id  uuid        NOT NULL UNIQUE,
    issuer     text        NOT NULL,   -- '' for those whom this installation lets in itself
    subject    text        NOT NULL,
    name       text,
    email      text,                   -- as told; nobody is found by it
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);
GRANT SELECT, INSERT, UPDATE ON postroom.people_person TO postroom_system;

CREATE TABLE postroom.people_membership (
    tenant_id  bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    person_id  bigint      NOT NULL REFERENCES postroom.people_person ON DELETE CASCADE,
    role       text        NOT NULL CHECK (role IN ('admin', 'member', 'reader')),  -- when they last came
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, person_id)
);
CREATE INDEX people_membership_person ON postroom.people_membership (person_id);
CALL postroom.protect('people_membership');

-- Somebody has come, for an organisation or for themselves: made at first sight, all three of person, tenant and
-- membership. Of any number who come at once each finds the same.
CREATE FUNCTION postroom.people_arrive(
    their_issuer text, their_subject text, their_organization text, tenant_name text, their_role text,
    their_name text, their_email text, fresh_person uuid, fresh_tenant uuid)
RETURNS TABLE (tenant bigint, person uuid)
LANGUAGE plpgsql AS $$
DECLARE
    whose bigint;
BEGIN
    INSERT INTO people_person AS p (public_id, issuer, subject, name, email)
    VALUES (fresh_person, their_issuer, their_subject, their_name, their_email)
    ON CONFLICT (issuer, subject) DO UPDATE
       SET seen_at = now(), name = coalesce(excluded.name, p.name), email = coalesce(excluded.email, p.email)
    RETURNING p.id, p.public_id INTO whose, person;

    IF their_organization IS NULL THEN
        INSERT INTO people_tenant (public_id, name, issuer, subject)
        VALUES (fresh_tenant, tenant_name, their_issuer, their_subject)
        ON CONFLICT (issuer, subject) WHERE subject IS NOT NULL DO NOTHING;
        SELECT t.tenant_id INTO tenant FROM people_tenant t
         WHERE t.issuer = their_issuer AND t.subject = their_subject;
    ELSE
        INSERT INTO people_tenant (public_id, name, issuer, organization)
        VALUES (fresh_tenant, tenant_name, their_issuer, their_organization)
        ON CONFLICT (issuer, organization) WHERE organization IS NOT NULL DO NOTHING;
        SELECT t.tenant_id INTO tenant FROM people_tenant t
         WHERE t.issuer = their_issuer AND t.organization = their_organization;
    END IF;

    INSERT INTO people_membership (tenant_id, person_id, role) VALUES (tenant, whose, their_role)
    ON CONFLICT (tenant_id, person_id) DO UPDATE SET role = excluded.role, seen_at = now();
    RETURN NEXT;
END
$$;

-- A member of a tenant, and of no other.
CREATE FUNCTION postroom.people_member(of_tenant bigint, wanted uuid)
RETURNS TABLE (public_id uuid, name text, email text, role text, since timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT p.public_id, p.name, p.email, m.role, m.created_at
      FROM people_membership m JOIN people_person p ON p.id = m.person_id
     WHERE m.tenant_id = of_tenant AND p.public_id = wanted
$$;

CALL postroom.across_tenants('people_arrive(text, text, text, text, text, text, text, uuid, uuid)', 'people_tenant', 'people_membership');
CALL postroom.across_tenants('people_member(bigint, uuid)', 'people_membership');
GRANT INSERT, UPDATE ON postroom.people_membership TO postroom_system;

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before, among those of ours only.
CREATE OR REPLACE FUNCTION postroom.people_tenant_named(wanted text, fresh uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    INSERT INTO people_tenant (public_id, name) VALUES (fresh, wanted)
    ON CONFLICT (name) WHERE issuer IS NULL DO UPDATE SET name = excluded.name
    RETURNING people_tenant.tenant_id
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
