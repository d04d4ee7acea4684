-- What was kept of calls: their events as they came, and the projection by which
-- they are found. Written by internal/records only.

-- +goose Up
CREATE TABLE calls (
    key             TEXT    NOT NULL PRIMARY KEY,
    n               BIGINT  NOT NULL,
    call            TEXT    NOT NULL,
    agent           TEXT    NOT NULL,
    node            TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    external        TEXT    NOT NULL,
    direction       TEXT    NOT NULL,
    language        TEXT    NOT NULL,
    customer        TEXT    NOT NULL,
    started         BIGINT  NOT NULL,
    ended           BIGINT,
    last            BIGINT  NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    running         BOOLEAN NOT NULL,
    closed          BOOLEAN NOT NULL,
    legs            BIGINT  NOT NULL,
    utterances      BIGINT  NOT NULL,
    gaps            BIGINT  NOT NULL,
    cards           BIGINT  NOT NULL,
    cards_used      BIGINT  NOT NULL,
    cards_dismissed BIGINT  NOT NULL,
    cards_wrong     BIGINT  NOT NULL,
    -- Of the cards that words triggered: how many were painted, and how late.
    painted         BIGINT  NOT NULL,
    latency_sum     BIGINT  NOT NULL,
    latency_max     BIGINT  NOT NULL,
    recording       BOOLEAN NOT NULL,
    recording_bytes BIGINT  NOT NULL,
    -- What retention has not deleted yet.
    has_transcript  BOOLEAN NOT NULL,
    has_cards       BOOLEAN NOT NULL,
    has_statistics  BOOLEAN NOT NULL
);
CREATE INDEX calls_started ON calls (started, key);
CREATE INDEX calls_ended ON calls (ended);
CREATE INDEX calls_last ON calls (last);
CREATE INDEX calls_call ON calls (call, started);
CREATE INDEX calls_agent ON calls (agent, started);
CREATE INDEX calls_running ON calls (started) WHERE running;
-- What retention looks for among all that it has been through.
CREATE INDEX calls_transcripts ON calls (ended) WHERE has_transcript;
CREATE INDEX calls_cards ON calls (ended) WHERE has_cards;
CREATE INDEX calls_statistics ON calls (ended) WHERE has_statistics;
CREATE INDEX calls_recordings ON calls (ended) WHERE recording;

CREATE TABLE events (
    key  TEXT   NOT NULL,
    n    BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    node TEXT   NOT NULL,
    kind TEXT   NOT NULL,
    body TEXT,
    PRIMARY KEY (key, n)
);

-- The addresses of a call's other side, as erasure compares them.
CREATE TABLE customers (
    address TEXT NOT NULL,
    key     TEXT NOT NULL,
    PRIMARY KEY (address, key)
);
CREATE INDEX customers_key ON customers (key);

-- The words of a call's transcript, for search.
CREATE TABLE words (
    word TEXT NOT NULL,
    key  TEXT NOT NULL,
    PRIMARY KEY (word, key)
);
CREATE INDEX words_key ON words (key);

-- Calls that were erased, so that an event that comes again does not bring them
-- back. Nothing of the customer is kept here.
CREATE TABLE erased (
    key TEXT   NOT NULL PRIMARY KEY,
    at  BIGINT NOT NULL
);

-- Events that fit nowhere: early ones wait for those before them.
CREATE TABLE broken_events (
    key    TEXT    NOT NULL,
    n      BIGINT  NOT NULL,
    at     BIGINT  NOT NULL,
    node   TEXT    NOT NULL,
    kind   TEXT    NOT NULL,
    body   TEXT,
    early  BOOLEAN NOT NULL,
    seen   BIGINT  NOT NULL,
    reason TEXT    NOT NULL,
    PRIMARY KEY (key, n)
);
