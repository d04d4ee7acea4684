-- +goose Up
-- Lists are separated by commas.
CREATE TABLE access_accounts (
    name       TEXT PRIMARY KEY,
    display    TEXT NOT NULL,
    roles      TEXT NOT NULL,
    agents     TEXT NOT NULL,
    -- PHC string of argon2id; empty: no login by password.
    password   TEXT NOT NULL,
    -- Issuer and subject at an OpenID provider; empty: none.
    subject    TEXT NOT NULL,
    disabled   BOOLEAN NOT NULL,
    -- Sessions of an earlier generation are over.
    generation BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL
);

CREATE TABLE access_sessions (
    -- SHA-256 of the cookie's value, in hexadecimal.
    hash       TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES access_accounts (name) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    seen_us    BIGINT NOT NULL
);

CREATE TABLE access_tokens (
    name       TEXT PRIMARY KEY,
    -- SHA-256 of the token, in hexadecimal.
    hash       TEXT NOT NULL UNIQUE,
    roles      TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    -- 0: never.
    expires_us BIGINT NOT NULL,
    used_us    BIGINT NOT NULL,
    revoked_us BIGINT NOT NULL
);

-- +goose Down
DROP TABLE access_tokens;
DROP TABLE access_sessions;
DROP TABLE access_accounts;
