package voices

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sidetone/asr/vad"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media/resample"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/spoof/fingerprint"
)

// longest bounds a file of speech to enrol.
const longest = 10 * time.Minute

// EnrollerConfig shapes NewEnroller.
type EnrollerConfig struct {
	Embedder voiceprint.Embedder
	Scorer   voiceprint.Scorer
	Detector *vad.Model
	// NewMeter makes a meter whose reasons are those against enrolling.
	NewMeter func() (Meter, error)
	Policy   enrol.Policy
}

// Enroller makes templates of recordings. It is safe for concurrent use.
type Enroller struct{ cfg EnrollerConfig }

// NewEnroller makes one.
func NewEnroller(c EnrollerConfig) (*Enroller, error) {
	if c.Embedder == nil || c.Scorer == nil || c.Detector == nil || c.NewMeter == nil {
		return nil, errors.New("voices: to enrol, an embedder, a scorer, a detector of speech and a meter are needed")
	}
	var err error
	if c.Policy, err = c.Policy.WithDefaults(); err != nil {
		return nil, err
	}
	return &Enroller{c}, nil
}

// Scorer is what weighs the voices that it makes templates of.
func (e *Enroller) Scorer() voiceprint.Scorer { return e.cfg.Scorer }

// Enrolment is one template in the making. It is not safe for concurrent use.
type Enrolment struct {
	of      *Enroller
	session *enrol.Session
	speech  []float32
	prints  []fingerprint.Print
}

// Begin begins a template of what was heard over a line, from a source: see
// voiceprint.Template.
func (e *Enroller) Begin(line, source string) (*Enrolment, error) {
	s, err := enrol.NewSession(enrol.SessionConfig{
		Embedder: e.cfg.Embedder, Scorer: e.cfg.Scorer, Policy: e.cfg.Policy, Line: line, Source: source,
	})
	if err != nil {
		return nil, err
	}
	return &Enrolment{of: e, session: s}, nil
}

// Add takes a channel of a recording, of which it uses the speech. A recording that
// should not be enrolled is reported, which is no error.
func (n *Enrolment) Add(name string, a *wav.Audio, channel int) error {
	switch {
	case channel < 0 || channel >= len(a.Channels):
		return fmt.Errorf("%s: it has %d channels, there is no channel %d", name, len(a.Channels), channel+1)
	case a.Duration() > longest:
		return fmt.Errorf("%s: it lasts %v; at most %v are listened to: cut it", name, a.Duration().Round(time.Second), longest)
	}
	samples, err := resample.Convert(a.Channels[channel], a.Rate, voiceprint.Rate)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	speech, print, meter, err := n.of.speech(samples)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	q, gates := meter.Measure()
	used := len(gates) == 0
	if err = n.session.Add(enrol.Piece{Name: name, Speech: speech, Quality: q, Gates: gates}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if used {
		n.speech = append(n.speech, speech...)
		if print.Speech() >= fingerprint.MinStretch {
			n.prints = append(n.prints, print)
		}
	}
	return nil
}

// speech is the net speech of a recording at 16 kHz, its print, and what was measured
// of it.
func (e *Enroller) speech(samples []int16) ([]float32, fingerprint.Print, Meter, error) {
	meter, err := e.cfg.NewMeter()
	if err != nil {
		return nil, nil, nil, err
	}
	recorder, err := fingerprint.NewRecorder(longest)
	if err != nil {
		return nil, nil, nil, err
	}
	speech, err := Net(e.cfg.Detector, samples, func(f *pcm.Frame, speaks bool) bool {
		recorder.Hear(f, speaks)
		return meter.Add(f, speaks)
	})
	return speech, slices.Clone(recorder.Print()), meter, err
}

// Net is the net speech of a recording at voiceprint.Rate, as a call would have it:
// the frames that hear lets count, which is told whether each is speech.
func Net(m *vad.Model, samples []int16, hear func(f *pcm.Frame, speech bool) bool) ([]float32, error) {
	detector, err := m.NewDetector(vad.Config{})
	if err != nil {
		return nil, err
	}
	var speech []float32
	var f pcm.Frame
	for at := 0; at+pcm.FrameSamples <= len(samples); at += pcm.FrameSamples {
		copy(f.Samples[:], samples[at:])
		f.Start = int64(at)
		detector.Accept(&f)
		if !hear(&f, detector.Probability() >= SpeechProb) {
			continue
		}
		for _, v := range f.Samples {
			speech = append(speech, float32(v)/32768)
		}
	}
	return speech, nil
}

// Prints are those of the recordings that were used, by which they are recognised
// when they are played.
func (n *Enrolment) Prints() []fingerprint.Print { return n.prints }

// Report is how it stands.
func (n *Enrolment) Report() (enrol.Report, error) { return n.session.Report() }

// Finish makes the template, or says why not by an *enrol.RefusalError. Speech is what
// it was made of.
func (n *Enrolment) Finish(id string, now time.Time) (t voiceprint.Template, speech []float32, r enrol.Report, err error) {
	t, r, err = n.session.Finish(id, now)
	return t, n.speech, r, err
}
