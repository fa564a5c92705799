-- Since when a tenant's log is not sealed, as it is not the one that was sealed; on the row of the tenant's own stream. It is told once, by an event.
ALTER TABLE postroom.events_head ADD COLUMN refused_at timestamptz;
