package app

import (
	"context"
	"errors"
	"log/slog"

	"sidetone/cmd/sidetone/internal/config"
	voicestore "sidetone/voiceprint/store"
)

// Voices is what is kept of voices, opened beside a server that may run.
type Voices struct {
	*Kept
	Store *voicestore.Store
}

// OpenVoices opens what is kept of voices in the configured database; close it.
func OpenVoices(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Voices, error) {
	dir, err := cfg.Storage.Path()
	if err != nil {
		return nil, err
	}
	k, err := OpenKept(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	s, err := openVoiceStore(ctx, cfg, k.store, k.Audit, cfg.Storage.KeysIn(dir), log)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return &Voices{Kept: k, Store: s}, nil
}

// Engine is what the configuration has voices compared by.
func (v *Voices) Engine(cfg *config.Config) (*VoiceEngine, error) {
	store, err := modelStore(cfg.Models.Store)
	if err != nil {
		return nil, err
	}
	return LoadVoiceEngine(store, cfg.Voice.Parameters)
}

// Enrolling makes templates of the configured model for one customer after the other.
func (v *Voices) Enrolling(cfg *config.Config, by voicestore.Actor) (*Enrolling, error) {
	store, err := modelStore(cfg.Models.Store)
	if err != nil {
		return nil, err
	}
	engine, err := LoadVoiceEngine(store, cfg.Voice.Parameters)
	if err != nil {
		return nil, err
	}
	detector, err := loadDetector(store)
	if err != nil {
		return nil, err
	}
	e := &Enrolling{Store: v.Store, By: by}
	e.Enroller, err = engine.Enroller(detector)
	return e, err
}
