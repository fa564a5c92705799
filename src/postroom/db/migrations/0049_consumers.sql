-- How far readers of the log have come who let the server keep it.

CREATE TABLE postroom.events_consumer (
    tenant_id  bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    name       text        NOT NULL,
    cursor     text        NOT NULL,                -- behind which it reads on
    created_at timestamptz NOT NULL DEFAULT now(),
    moved_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);
-- Not narrowed: they belong to the tenant. Who is limited to some accounts keeps cursors of their own.
CALL postroom.protect('events_consumer');
