-- Schema 1. Keys begin with the owner; ids are made by the caller; times are Unix milliseconds.
-- Large values stand last, so that reading the columns before them touches no overflow page.
CREATE TABLE accounts (
    account BLOB NOT NULL PRIMARY KEY,
    identity_key BLOB NOT NULL,
    created INTEGER NOT NULL,
    device_list_seq INTEGER NOT NULL,
    device_list BLOB NOT NULL
);
CREATE TABLE sessions (
    token BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL,
    device BLOB NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_expires ON sessions (expires);
CREATE TABLE roots (
    owner BLOB NOT NULL,
    volume BLOB NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    time INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (owner, volume, seq)
);
-- state: 0 pending, due = expiry; 1 live; 2 retired, due = since when.
CREATE TABLE nodes (
    owner BLOB NOT NULL,
    hash BLOB NOT NULL,
    state INTEGER NOT NULL,
    due INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (owner, hash)
);
CREATE INDEX nodes_due ON nodes (state, due) WHERE state <> 1;
-- state: 0 pending, 1 live, 2 retired.
CREATE TABLE blobs (
    owner BLOB NOT NULL,
    blob BLOB NOT NULL,
    upload BLOB NOT NULL,
    length INTEGER NOT NULL,
    k INTEGER NOT NULL,
    n INTEGER NOT NULL,
    shard_size INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    owner_tag BLOB NOT NULL,
    created INTEGER NOT NULL,
    refs INTEGER NOT NULL,
    live_bytes INTEGER NOT NULL,
    state INTEGER NOT NULL,
    retired INTEGER NOT NULL,
    PRIMARY KEY (owner, blob)
);
CREATE INDEX blobs_pending ON blobs (owner, upload, blob) WHERE state = 0;
CREATE INDEX blobs_retired ON blobs (retired, owner, blob) WHERE state = 2;
-- A rowid table, so that rows are appended to full pages; only the short keys lie in a B-tree.
CREATE TABLE groups (
    owner BLOB NOT NULL,
    blob BLOB NOT NULL,
    first INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (owner, blob, first)
);
CREATE TABLE receipts (
    owner BLOB NOT NULL,
    blob BLOB NOT NULL,
    segment INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX receipts_segment ON receipts (owner, blob, segment);
CREATE TABLE uploads (
    owner BLOB NOT NULL,
    upload BLOB NOT NULL,
    expires INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (owner, upload)
);
CREATE INDEX uploads_expires ON uploads (expires, owner, upload);
CREATE TABLE hosts (
    alias INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    joined INTEGER NOT NULL,
    state INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    alpha INTEGER NOT NULL,
    beta INTEGER NOT NULL,
    audits_passed INTEGER NOT NULL,
    order_seq INTEGER NOT NULL,
    offer BLOB NOT NULL
);
CREATE TABLE orders (
    host INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (host, seq)
);
CREATE TABLE usage (
    owner BLOB NOT NULL PRIMARY KEY,
    stored_bytes INTEGER NOT NULL,
    reserved_bytes INTEGER NOT NULL,
    node_bytes INTEGER NOT NULL,
    pending_node_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE idempotency (
    owner BLOB NOT NULL,
    key BLOB NOT NULL,
    expires INTEGER NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_expires ON idempotency (expires);
