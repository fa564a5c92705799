-- Raw bytes by content. A blob is cut into chunks of 4 MiB, each compressed by itself, so that any range of
-- a large one can be read. The first chunk lies in the blob's own row: most mails have no other.

CREATE TABLE blobs_blob (
    tenant_id bigint NOT NULL REFERENCES people_tenant ON DELETE CASCADE,
    digest    bytea  NOT NULL,                  -- SHA-256 of the bytes
    size      bigint NOT NULL,
    refs      int    NOT NULL,
    head      bytea  NOT NULL,                  -- chunk 0, zstd
    PRIMARY KEY (tenant_id, digest)
);
ALTER TABLE blobs_blob ALTER head SET STORAGE EXTERNAL;
CALL postroom.protect('blobs_blob');

CREATE TABLE blobs_chunk (
    tenant_id bigint NOT NULL,
    digest    bytea  NOT NULL,
    number    int    NOT NULL,                  -- 1, 2, ...
    data      bytea  NOT NULL,                  -- zstd
    PRIMARY KEY (tenant_id, digest, number),
    FOREIGN KEY (tenant_id, digest) REFERENCES blobs_blob ON DELETE CASCADE
);
ALTER TABLE blobs_chunk ALTER data SET STORAGE EXTERNAL;
CALL postroom.protect('blobs_chunk');
