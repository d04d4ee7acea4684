package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"sidetone/cmd/sidetone/internal/voiceguard"
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
	// AllowDuplicates enrols a voice that others may have, too; the audit log tells who.
	AllowDuplicates bool

	known *voiceguard.Known
}

// errDuplicate is what is said of a voice that is enrolled already.
const errDuplicate = "this voice is enrolled under another name, too"

// DuplicateError is about a voice that others have enrolled; who they are is for the
// security team.
type DuplicateError struct{ Customers []string }

// Error implements error. It names nobody.
func (e *DuplicateError) Error() string { return errDuplicate }

// Enrolled is a template that was made.
type Enrolled struct {
	Template string
	Report   enrol.Report
}

// others are the customer's pseudonym and those of who else may have the voice; a
// *DuplicateError, unless that is allowed.
func (e *Enrolling) others(ctx context.Context, t *voiceprint.Template) (self string, alike []string, err error) {
	if self, err = e.Store.Pseudonym(e.Customer); err != nil {
		return "", nil, err
	}
	if e.known == nil {
		if e.known, err = voiceguard.ReadKnown(ctx, e.Store, e.By, e.Enroller.Scorer()); err != nil {
			return "", nil, err
		}
	}
	alike, err = e.known.Alike(t.Embedding, t.Quality.Net, self)
	if err != nil || len(alike) == 0 || e.AllowDuplicates {
		return self, alike, err
	}
	names, err := namesOf(ctx, e.Store, e.By, alike)
	if err != nil {
		return "", nil, err
	}
	return "", nil, &DuplicateError{Customers: names}
}

// Enrol makes a template. An *enrol.RefusalError says why there is none, a
// *DuplicateError that others have the voice.
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
	v, report, err := e.voice(ctx, line, speech)
	if err != nil {
		return Enrolled{Report: report}, err
	}
	self, alike, err := e.others(ctx, &v.Template)
	if err != nil {
		return Enrolled{Report: report}, err
	}
	ids, err := e.Store.Enrol(ctx, e.By, e.Customer, voicestore.Enrolment{
		Voices: []voicestore.Voice{v}, Replace: e.Replace, Alike: alike,
	})
	if err != nil {
		return Enrolled{Report: report}, err
	}
	e.known.Add(self, v.Template.Embedding)
	return Enrolled{Template: ids[0], Report: report}, nil
}

// voice makes a template, and what is kept with it, of speech that was heard over a
// line.
func (e *Enrolling) voice(ctx context.Context, line string, speech []Speech) (v voicestore.Voice, r enrol.Report, err error) {
	n, err := e.Enroller.Begin(line, e.Source)
	if err != nil {
		return v, r, err
	}
	for _, s := range speech {
		if err = ctx.Err(); err != nil {
			return v, r, err
		}
		if err = n.Add(s.Name, s.Audio, s.Channel); err != nil {
			return v, r, err
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	v.Template, v.Audio, r, err = n.Finish(hex.EncodeToString(id[:]), time.Now())
	v.Prints = n.Prints()
	return v, r, err
}

// Watch puts the voice of speech on the watch list: of the entry count Person, Reason,
// Basis, Review and Expires. An *enrol.RefusalError says why the speech is not good
// enough.
func (e *Enrolling) Watch(ctx context.Context, entry watchlist.Entry, speech []Speech) (id string, r enrol.Report, err error) {
	v, r, err := e.voice(ctx, defaultLine, speech)
	if err != nil {
		if no := (*enrol.RefusalError)(nil); errors.As(err, &no) {
			r = no.Report
		}
		return "", r, err
	}
	entry.Model, entry.Quality = v.Template.Model, v.Template.Quality
	id, err = e.Store.Watch().Add(ctx, e.By, v.Template.Embedding, entry)
	return id, r, err
}
