-- Voices of persons: consent, templates, audio to make templates of again, the
-- watch list, and the decisions. Written by voiceprint/store only. A person is a
-- keyed pseudonym; what is sealed is in hexadecimal.

-- +goose Up
-- By these the keys in the file voice.key are recognised; they are no secrets.
CREATE TABLE voice_keys (
    kind       TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    proof      TEXT   NOT NULL,
    PRIMARY KEY (kind, generation)
);

CREATE TABLE voice_persons (
    id      TEXT   NOT NULL PRIMARY KEY,
    -- Who it is, sealed; empty once erased.
    subject TEXT   NOT NULL,
    seal    TEXT   NOT NULL,
    state   TEXT   NOT NULL,
    since   BIGINT NOT NULL,
    -- When consent expires; 0: never.
    expires BIGINT NOT NULL,
    version BIGINT NOT NULL,
    -- When a template was last added or compared; 0: never.
    used    BIGINT NOT NULL,
    erased  BIGINT NOT NULL
);
CREATE INDEX voice_persons_state ON voice_persons (state, id);

CREATE TABLE voice_consents (
    person   TEXT   NOT NULL,
    n        BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    state    TEXT   NOT NULL,
    wording  TEXT   NOT NULL,
    language TEXT   NOT NULL,
    channel  TEXT   NOT NULL,
    how      TEXT   NOT NULL,
    actor    TEXT   NOT NULL,
    expires  BIGINT NOT NULL,
    PRIMARY KEY (person, n)
);

CREATE TABLE voice_templates (
    id      TEXT    NOT NULL PRIMARY KEY,
    person  TEXT    NOT NULL,
    -- The template that was adapted to become this one: the first of the chain.
    origin  TEXT    NOT NULL,
    n       BIGINT  NOT NULL,
    -- The one of its chain that is compared with.
    live    BOOLEAN NOT NULL,
    active  BOOLEAN NOT NULL,
    line    TEXT    NOT NULL,
    model   TEXT    NOT NULL,
    made    BIGINT  NOT NULL,
    seal    TEXT    NOT NULL,
    turn    BIGINT  NOT NULL,
    payload TEXT    NOT NULL,
    UNIQUE (origin, n)
);
CREATE INDEX voice_templates_person ON voice_templates (person, live);
CREATE INDEX voice_templates_model ON voice_templates (model, id);

CREATE TABLE voice_audio (
    id      TEXT   NOT NULL PRIMARY KEY,
    person  TEXT   NOT NULL,
    origin  TEXT   NOT NULL,
    made    BIGINT NOT NULL,
    seal    TEXT   NOT NULL,
    payload TEXT   NOT NULL
);
CREATE INDEX voice_audio_person ON voice_audio (person);
CREATE INDEX voice_audio_origin ON voice_audio (origin);
CREATE INDEX voice_audio_made ON voice_audio (made);

CREATE TABLE voice_watch (
    id       TEXT   NOT NULL PRIMARY KEY,
    -- Whose voice it is, where that is known.
    person   TEXT   NOT NULL,
    model    TEXT   NOT NULL,
    added    BIGINT NOT NULL,
    added_by TEXT   NOT NULL,
    review   BIGINT NOT NULL,
    expires  BIGINT NOT NULL,
    removed  BIGINT NOT NULL,
    gone_by  TEXT   NOT NULL,
    changed  BIGINT NOT NULL,
    version  BIGINT NOT NULL,
    seal     TEXT   NOT NULL,
    turn     BIGINT NOT NULL,
    -- The voice and why it is here; empty once removed.
    payload  TEXT   NOT NULL
);
CREATE INDEX voice_watch_model ON voice_watch (model, id);

CREATE TABLE voice_hits (
    id      TEXT             NOT NULL PRIMARY KEY,
    watch   TEXT             NOT NULL,
    call    TEXT             NOT NULL,
    leg     TEXT             NOT NULL,
    at      BIGINT           NOT NULL,
    llr     DOUBLE PRECISION NOT NULL,
    state   TEXT             NOT NULL,
    decided BIGINT           NOT NULL,
    actor   TEXT             NOT NULL,
    UNIQUE (watch, call, leg)
);
CREATE INDEX voice_hits_state ON voice_hits (state, at);
CREATE INDEX voice_hits_call ON voice_hits (call);

CREATE TABLE voice_comparisons (
    id      TEXT             NOT NULL PRIMARY KEY,
    person  TEXT             NOT NULL,
    call    TEXT             NOT NULL,
    leg     TEXT             NOT NULL,
    at      BIGINT           NOT NULL,
    outcome TEXT             NOT NULL,
    llr     DOUBLE PRECISION NOT NULL,
    -- All else that the decision rested on, as JSON.
    detail  TEXT             NOT NULL
);
CREATE INDEX voice_comparisons_person ON voice_comparisons (person, at);
CREATE INDEX voice_comparisons_call ON voice_comparisons (call);
CREATE INDEX voice_comparisons_at ON voice_comparisons (at, id);

-- What was done and is on its way to the audit log.
CREATE TABLE voice_outbox (
    id      TEXT   NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    object  TEXT   NOT NULL,
    detail  TEXT   NOT NULL,
    address TEXT   NOT NULL
);
CREATE INDEX voice_outbox_at ON voice_outbox (at, id);
