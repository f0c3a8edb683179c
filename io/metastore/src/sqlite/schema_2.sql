-- Schema 2: what the Bridge keeps of each Host, and segments that nobody can repair.
ALTER TABLE hosts ADD COLUMN record BLOB NOT NULL DEFAULT x'';
-- kind: 0 event, 1 audit.
CREATE TABLE host_log (
    host INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (host, kind, seq)
);
CREATE INDEX host_log_at ON host_log (kind, at);
CREATE TABLE frozen_segments (
    owner BLOB NOT NULL,
    blob BLOB NOT NULL,
    segment INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (owner, blob, segment)
) WITHOUT ROWID;
