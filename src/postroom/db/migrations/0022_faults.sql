-- Which key seals the secrets of this database: a process that has another one is told so before it does anything.

-- One row, sealed with the newest key, and written by the first process that needs one. It is everybody's, so it
-- belongs to no tenant, and says nothing of any. Where a key is lost for good, an administrator deletes the row.
CREATE TABLE postroom.vault_check (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    sealed  text    NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON postroom.vault_check TO postroom_app;
