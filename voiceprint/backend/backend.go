// Package backend turns what a network says of a voice into evidence.
//
// A Space lays raw embeddings out so that what differs between lines, durations and
// noises of one voice counts for little: centring and within-class covariance
// normalisation (Hatch, Kajarekar and Stolcke, Interspeech 2006) with shrinkage. A Scorer makes a
// log-likelihood ratio of a cosine and the net speech behind it by logistic
// regression (Brümmer, du Preez, Application-independent evaluation of speaker
// detection, 2006), and knows which threshold accepts which share of impostors.
//
// Both are Params, one versioned file. Train makes them, and measures them on
// speakers that they were not trained on. Templates belong to a space: another space
// needs them made anew. The calibration may be made anew without touching them.
//
// Everything is a pure function of its input: the same recordings give the same file.
package backend

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"sidetone/voiceprint"
)

// Params are a space and how to weigh what lies in it.
type Params struct {
	Trained Trained
	Space   *Space
	// Calibration makes evidence of cosines in Space, Operating thresholds on it.
	Calibration Calibration
	Operating   Operating
}

// Trained says what parameters come from.
type Trained struct {
	// Space and Calibration are the data that each comes from, in words.
	Space, Calibration string
	// Date is when, "2006-01-02".
	Date string
}

// Version names the calibration and its thresholds by their content.
func (p *Params) Version() string {
	var h sum
	c, o := p.Calibration, p.Operating
	h.add(c.Constant, c.Cosine, c.CosineNet, c.Net, c.Shortest.Seconds(), c.Longest.Seconds())
	for _, pt := range o.Points {
		h.add(pt.FAR, pt.FRR, pt.LLR)
	}
	return h.String()
}

// Embedder embeds into the parameters' space what raw embeds.
func (p *Params) Embedder(raw voiceprint.Embedder) (*Embedder, error) { return p.Space.Over(raw) }

// Scorer weighs embeddings of the parameters' space.
func (p *Params) Scorer() (*Scorer, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	words := fmt.Sprintf("%s; thresholds from %s", p.Trained.Calibration, p.Operating.Words())
	return &Scorer{
		info:        voiceprint.Info{Model: p.Space.Model(), Calibration: p.Version(), Trained: words},
		calibration: p.Calibration, operating: p.Operating,
	}, nil
}

func (p *Params) validate() error {
	if p.Space == nil {
		return fmt.Errorf("backend: parameters without a space")
	}
	if err := p.Calibration.validate(); err != nil {
		return err
	}
	return p.Operating.validate()
}

// sum names numbers by their content: 8 hexadecimal digits of SHA-256.
type sum struct{ b []byte }

func (s *sum) add(xs ...float64) {
	for _, x := range xs {
		s.b = fmt.Appendf(s.b, "%016x", math.Float64bits(x))
	}
}

func (s *sum) String() string {
	h := sha256.Sum256(s.b)
	return hex.EncodeToString(h[:4])
}

// seconds and duration change between the two ways to state a length.
func seconds(d time.Duration) float64 { return d.Seconds() }

func duration(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
