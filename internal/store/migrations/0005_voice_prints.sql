-- Fingerprints of what persons said: by them a recording is recognised that is played
-- again. Written by voiceprint/store only.

-- +goose Up
CREATE TABLE voice_prints (
    id      TEXT   NOT NULL PRIMARY KEY,
    person  TEXT   NOT NULL,
    -- The call in which it was said, or the template that was made of it; the other is
    -- empty.
    call    TEXT   NOT NULL,
    origin  TEXT   NOT NULL,
    made    BIGINT NOT NULL,
    seal    TEXT   NOT NULL,
    payload TEXT   NOT NULL
);
CREATE INDEX voice_prints_person ON voice_prints (person, made);
CREATE INDEX voice_prints_call ON voice_prints (call);
CREATE INDEX voice_prints_origin ON voice_prints (origin);
CREATE INDEX voice_prints_made ON voice_prints (made, id);
