-- Times are milliseconds since 1970-01-01 UTC.
CREATE TABLE jobs (
    id               TEXT    PRIMARY KEY NOT NULL,
    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    -- What was asked beside the scan, as JSON.
    request          TEXT    NOT NULL,
    -- File name within the scan directory; never a path from outside.
    scan             TEXT    NOT NULL,
    scan_bytes       INTEGER NOT NULL,
    -- Name the client gave the scan, cleaned; shown, never opened.
    scan_name        TEXT    NOT NULL,
    result           TEXT,
    problem          TEXT,
    attempts         INTEGER NOT NULL DEFAULT 0,
    -- Grows with every claim: a worker that lost its lease cannot write with an old fence.
    fence            INTEGER NOT NULL DEFAULT 0,
    lease_expires_ms INTEGER,
    -- Joins the job's spans and log lines to the request that submitted it.
    request_id       TEXT    NOT NULL,
    traceparent      TEXT
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, created_ms);
