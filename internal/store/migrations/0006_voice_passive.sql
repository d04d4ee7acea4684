-- What is remembered of a person's voice between calls: those that a template may be
-- made of, and how a template follows its person. Written by voiceprint/store only.

-- +goose Up
CREATE TABLE voice_passive (
    id       TEXT   NOT NULL PRIMARY KEY,
    person   TEXT   NOT NULL,
    -- passive, or followed.
    kind     TEXT   NOT NULL,
    -- The first version of the template that is followed; else empty.
    about    TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    phase    TEXT   NOT NULL,
    -- The keys of the calls that are remembered, each between spaces.
    calls    TEXT   NOT NULL,
    -- When the oldest of them ended; 0: there is none.
    oldest   BIGINT NOT NULL,
    -- The provisional template that they make; else empty.
    template TEXT   NOT NULL,
    model    TEXT   NOT NULL,
    seal     TEXT   NOT NULL,
    turn     BIGINT NOT NULL,
    payload  TEXT   NOT NULL,
    UNIQUE (person, kind, about)
);
CREATE INDEX voice_passive_oldest ON voice_passive (oldest);
