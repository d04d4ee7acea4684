// Package demo holds the demonstration call: a customer of an invented bank who
// has lost a card, as two legs of telephone audio with the script they follow.
//
// The voices are synthetic. Recognisers find them far easier than people, so
// nothing measured on this call says how well people are understood.
package demo

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"sidetone/internal/wav"
	"sidetone/internal/yamlfile"
	"sidetone/media"
)

// All files are made by make/synth.py.
var (
	//go:embed demo.wav.gz
	recording []byte
	//go:embed stranger.wav.gz
	stranger []byte
	//go:embed enrolment.wav.gz
	enrolment []byte
	//go:embed script.yaml
	script []byte
)

// Channels of the call's audio.
const (
	AgentChannel    = 0
	CustomerChannel = 1
)

// Noise of each leg's line, RMS in dB relative to full scale: the agent sits in
// a quiet office, the customer stands in a kitchen.
const (
	agentNoise    = -66.0
	customerNoise = -60.0
	// The stranger calls from a car, the customer enrolled at home.
	strangerNoise  = -56.0
	enrolmentNoise = -64.0
)

// Script is what is said in the call, and what Sidetone should make of it.
type Script struct {
	Title string
	// Bank, Agent and Customer are the invented names that are heard.
	Bank, Agent, Customer string
	// Turns are in the order in which they begin.
	Turns []Turn
}

// Turn is one stretch of one person's speech.
type Turn struct {
	Role media.Role
	// Start and End are the bounds of the speech, from the beginning of the
	// audio. Turns of the two people overlap in places.
	Start, End time.Duration
	Text       string
	// Cues are the parts of Text that call for something on the agent's page,
	// in the order in which they are said.
	Cues []Cue
}

// Cue is a phrase and the intent that it shows.
type Cue struct {
	// Intent is named as in the knowledge base's elements.
	Intent string `yaml:"intent"`
	// Phrase stands word by word in the turn's text.
	Phrase string `yaml:"phrase"`
}

// ReadScript decodes the script of the call.
func ReadScript() (Script, error) {
	var file struct {
		Title, Bank, Agent, Customer string
		Turns                        []struct {
			Role  string
			Start int64 `yaml:"start_ms"`
			End   int64 `yaml:"end_ms"`
			Text  string
			Cues  []Cue
		}
	}
	if err := (yamlfile.File{Name: "script.yaml", Source: script}).Decode(&file); err != nil {
		return Script{}, fmt.Errorf("demo call: %w", err)
	}
	s := Script{Title: file.Title, Bank: file.Bank, Agent: file.Agent, Customer: file.Customer}
	for i, t := range file.Turns {
		role, ok := media.ParseRole(t.Role)
		if !ok || role == media.RoleUnknown {
			return Script{}, fmt.Errorf("demo call: script.yaml: turn %d has the role %q, expected agent or customer", i, t.Role)
		}
		s.Turns = append(s.Turns, Turn{
			Role:  role,
			Start: time.Duration(t.Start) * time.Millisecond,
			End:   time.Duration(t.End) * time.Millisecond,
			Text:  t.Text,
			Cues:  t.Cues,
		})
	}
	return s, nil
}

// Customer is what the bank calls the customer, whose voice Enrolment is.
const Customer = "LB-40172"

// Call decodes the call: 8 kHz, the agent on AgentChannel, the customer on
// CustomerChannel. The caller owns what is returned; it is the same every time.
func Call() (*wav.Audio, error) { return decode("call", recording, agentNoise, customerNoise) }

// Stranger decodes a second call, in which somebody with another voice gives the
// customer's name; the channels are those of Call.
func Stranger() (*wav.Audio, error) {
	return decode("call of the stranger", stranger, agentNoise, strangerNoise)
}

// Enrolment decodes what the customer said to enrol, about half a minute on one
// channel: another day, another line and other words than in the call.
func Enrolment() (*wav.Audio, error) { return decode("enrolment", enrolment, enrolmentNoise) }

// decode decodes audio with one channel for each noise.
func decode(name string, packed []byte, noise ...float64) (*wav.Audio, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("demo %s: %w", name, err)
	}
	a, err := wav.Decode(z)
	if err != nil {
		return nil, fmt.Errorf("demo %s: %w", name, err)
	}
	if len(a.Channels) != len(noise) {
		return nil, fmt.Errorf("demo %s: %d channels, expected %d", name, len(a.Channels), len(noise))
	}
	for i, db := range noise {
		addNoise(a.Channels[i], db, uint64(i+1))
	}
	return a, nil
}

// addNoise gives a leg the floor of a real line. It is made here because noise
// does not compress: stored, it would double the file.
func addNoise(leg []int16, db float64, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	rms := math.Pow(10, db/20) * 32768
	for i, s := range leg {
		v := float64(s) + rms*r.NormFloat64()
		leg[i] = int16(math.Round(min(max(v, math.MinInt16), math.MaxInt16)))
	}
}
