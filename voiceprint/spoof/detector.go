package spoof

import (
	"fmt"
	"slices"
	"time"

	"sidetone/internal/pcm"
	"sidetone/voiceprint/spoof/fingerprint"
)

// Config shapes New.
type Config struct {
	// Person is as whom the caller is treated, Call the call: its own earlier legs,
	// as after a transfer, are no repetition.
	Person, Call string
	// Enrolment are the prints of what the person was enrolled with, Earlier those of
	// calls before; without them the signs that need them are unchecked.
	Enrolment []fingerprint.Print
	Earlier   *fingerprint.Index
	// Limit is how much of the leg can be compared; 0 means the fingerprint's default.
	Limit  time.Duration
	Policy Policy
}

const (
	// look is how much audio is heard between two looks, in steps of the print.
	each = 50
	// context is what a look at the enrolment sees again of what came before: a
	// stretch that has grown is told in its length up to here.
	context = 250
)

// Detector hears the customer's leg of one call. It is not safe for concurrent use;
// Hear allocates nothing, Look searches.
//
// Speech is what the person on this line says: while the other side plays a prompt
// and its echo may be heard, frames are not speech.
type Detector struct {
	config   Config
	recorder *fingerprint.Recorder
	meter    *Meter
	looked   int
	longest  *fingerprint.Stretch
	hits     []fingerprint.Hit
}

// New makes a detector for one leg.
func New(c Config) (*Detector, error) {
	p, err := c.Policy.withDefaults()
	if err != nil {
		return nil, err
	}
	c.Policy = p
	r, err := fingerprint.NewRecorder(c.Limit)
	if err != nil {
		return nil, fmt.Errorf("spoof: %w", err)
	}
	m, err := NewMeter()
	if err != nil {
		return nil, err
	}
	return &Detector{config: c, recorder: r, meter: m}, nil
}

// Hear takes the next frame of the leg, silence too; lost ones are marked so.
func (d *Detector) Hear(f *pcm.Frame, speech bool) {
	d.recorder.Hear(f, speech)
	d.meter.Hear(f, speech)
}

// Treat says as whom the caller is treated from now on, and what that person was
// enrolled with: what was heard so far is compared with it anew.
func (d *Detector) Treat(person string, enrolment []fingerprint.Print) {
	d.config.Person, d.config.Enrolment, d.longest = person, enrolment, nil
	d.replayed(d.recorder.Print()[:d.looked], 0)
}

// Due says that there is a second more to look at.
func (d *Detector) Due() bool { return len(d.recorder.Print()) >= d.looked+each }

// Print is the fingerprint of the leg so far: to be copied and kept with a template
// that is made of it, or added to the index when the call is over. It grows in place.
func (d *Detector) Print() fingerprint.Print { return d.recorder.Print() }

// Look compares what is new since the last look and judges the whole. It takes
// milliseconds; now is for the expiry of earlier calls.
func (d *Detector) Look(now time.Time) Verdict {
	p := d.recorder.Print()
	if d.looked < len(p) {
		d.compare(p, now)
		d.looked = len(p)
	}
	return d.config.Policy.judge(d.signals(p))
}

func (d *Detector) compare(p fingerprint.Print, now time.Time) {
	d.replayed(p, max(0, d.looked-context))
	if d.config.Earlier == nil {
		return
	}
	for _, h := range d.config.Earlier.Find(p, d.looked, now) {
		if h.Source.Call == d.config.Call && h.Source.Call != "" {
			continue
		}
		i := slices.IndexFunc(d.hits, func(o fingerprint.Hit) bool { return o.Source == h.Source && o.Heard.Equal(h.Heard) })
		switch {
		case i < 0:
			d.hits = append(d.hits, h)
		case h.Length > d.hits[i].Length:
			d.hits[i] = h
		}
	}
}

// replayed looks for the enrolment in what was heard from a word on.
func (d *Detector) replayed(p fingerprint.Print, from int) {
	for _, e := range d.config.Enrolment {
		s, ok := fingerprint.Match(e, p[from:])
		s.B += time.Duration(from) * fingerprint.Step
		if ok && (d.longest == nil || s.Length > d.longest.Length) {
			d.longest = &s
		}
	}
}

// Signals is what Look has judged.
func (d *Detector) Signals() Signals { return d.signals(d.recorder.Print()) }

func (d *Detector) signals(p fingerprint.Print) Signals {
	s := Signals{Enrolment: d.longest, Earlier: slices.Clone(d.hits), Person: d.config.Person}
	little := p.Speech() < fingerprint.MinStretch
	if little || len(d.config.Enrolment) == 0 {
		s.Unchecked = append(s.Unchecked, EnrolmentReplayed)
	}
	if little || d.config.Earlier == nil || d.config.Person == "" {
		s.Unchecked = append(s.Unchecked, Repeated)
	}
	if little || d.config.Earlier == nil {
		s.Unchecked = append(s.Unchecked, RepeatedElsewhere)
	}
	cues, unchecked := d.meter.Cues()
	s.Cues, s.Unchecked = cues, append(s.Unchecked, unchecked...)
	return s
}
