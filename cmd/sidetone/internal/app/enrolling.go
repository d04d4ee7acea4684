package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/internal/wav"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
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
	n, err := e.Enroller.Begin(line, e.Source)
	if err != nil {
		return Enrolled{}, err
	}
	for _, s := range speech {
		if err = ctx.Err(); err != nil {
			return Enrolled{}, err
		}
		if err = n.Add(s.Name, s.Audio, s.Channel); err != nil {
			return Enrolled{}, err
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	t, samples, report, err := n.Finish(hex.EncodeToString(id[:]), time.Now())
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
