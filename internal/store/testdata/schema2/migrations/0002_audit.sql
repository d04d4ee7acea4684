-- The audit log: a chain of hashes. Written by internal/audit only.

-- +goose Up
CREATE TABLE audit (
    seq     BIGINT NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    object  TEXT   NOT NULL,
    detail  TEXT   NOT NULL,
    address TEXT   NOT NULL,
    -- HMAC-SHA-256 of the row and the hash before it, in hexadecimal.
    hash    TEXT   NOT NULL
);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_object ON audit (object, seq);
