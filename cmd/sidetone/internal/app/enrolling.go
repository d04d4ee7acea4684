package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/internal/wav"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

// defaultLine is what a voice is taken to be heard over where nobody says.
const defaultLine = "phone"

// Speech is a channel of a recording, counted from 0.
type Speech struct {
	Name    string
	Audio   *wav.Audio
	Channel int
}

// Enrolling enrols a person who has consented by what they have said.
type Enrolling struct {
	Enroller *voices.Enroller
	Store    *voicestore.Store
	By       voicestore.Actor
	// Customer is who it is, Line what they were heard over, "phone" if empty, Source
	// where the speech comes from.
	Customer, Line, Source string
	// Replace has the templates of the same line replaced.
	Replace bool
}

// Enrolled is a template that was made.
type Enrolled struct {
	Template string
	Report   enrol.Report
}

// Enrol makes a template. An *enrol.RefusalError says why there is none.
func (e *Enrolling) Enrol(ctx context.Context, speech []Speech) (Enrolled, error) {
	// Nothing is made of the voice of somebody who has not agreed.
	now, err := e.Store.State(ctx, e.Customer)
	if err != nil {
		return Enrolled{}, err
	}
	switch now.State {
	case voicestore.Consented:
	case voicestore.OptedOut:
		return Enrolled{}, voicestore.ErrOptedOut
	case voicestore.Expired:
		return Enrolled{}, voicestore.ErrExpired
	default:
		return Enrolled{}, voicestore.ErrNoConsent
	}
	line := e.Line
	if line == "" {
		line = defaultLine
	}
	t, samples, report, err := e.template(ctx, line, speech)
	if err != nil {
		return Enrolled{Report: report}, err
	}
	ids, err := e.Store.Enrol(ctx, e.By, e.Customer, voicestore.Enrolment{
		Voices: []voicestore.Voice{{Template: t, Audio: samples}}, Replace: e.Replace,
	})
	if err != nil {
		return Enrolled{Report: report}, err
	}
	return Enrolled{Template: ids[0], Report: report}, nil
}

// template makes a template of speech that was heard over a line.
func (e *Enrolling) template(ctx context.Context, line string, speech []Speech) (t voiceprint.Template, samples []float32, r enrol.Report, err error) {
	n, err := e.Enroller.Begin(line, e.Source)
	if err != nil {
		return t, nil, r, err
	}
	for _, s := range speech {
		if err = ctx.Err(); err != nil {
			return t, nil, r, err
		}
		if err = n.Add(s.Name, s.Audio, s.Channel); err != nil {
			return t, nil, r, err
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	return n.Finish(hex.EncodeToString(id[:]), time.Now())
}

// Watch puts the voice of speech on the watch list: of the entry count Person, Reason,
// Basis, Review and Expires. An *enrol.RefusalError says why the speech is not good
// enough.
func (e *Enrolling) Watch(ctx context.Context, entry watchlist.Entry, speech []Speech) (id string, r enrol.Report, err error) {
	t, _, r, err := e.template(ctx, defaultLine, speech)
	if err != nil {
		if no := (*enrol.RefusalError)(nil); errors.As(err, &no) {
			r = no.Report
		}
		return "", r, err
	}
	entry.Model, entry.Quality = t.Model, t.Quality
	id, err = e.Store.Watch().Add(ctx, e.By, t.Embedding, entry)
	return id, r, err
}
