package enrol

import (
	"fmt"
	"math"
	"slices"
	"time"

	"sidetone/voiceprint"
)

const (
	// mostMatches is how many comparisons a Voice remembers, fewMatches how many tell
	// a trend.
	mostMatches, fewMatches = 32, 10
	// surely is the deviation of Kendall's statistic below which a fall is no chance:
	// it is looked at after each call, so one in a thousand.
	surely = -3.1
)

// Voice is a template that follows its person. It is plain and can be written as JSON;
// it holds embeddings, so whoever keeps it seals it.
type Voice struct {
	// Original is the template as enrolled, Current as it is compared with, Before what
	// it was before its last change, if that can still be undone.
	Original voiceprint.Embedding `json:"original"`
	Current  voiceprint.Embedding `json:"current"`
	Before   voiceprint.Embedding `json:"before,omitempty"`
	// Made is when it was enrolled, Changed when it was last changed, Heard when the
	// person was last heard.
	Made    time.Time `json:"made"`
	Changed time.Time `json:"changed,omitzero"`
	Heard   time.Time `json:"heard,omitzero"`
	Changes int       `json:"changes,omitempty"`
	// Likeness is that of the latest calls, the oldest first.
	Likeness []Likeness `json:"likeness,omitempty"`
}

// Likeness is the cosine of one call to the template as it then was.
type Likeness struct {
	At     time.Time `json:"at"`
	Cosine float64   `json:"cosine"`
}

// NewVoice begins to follow a template.
func NewVoice(t voiceprint.Template) Voice {
	return Voice{Original: slices.Clone(t.Embedding), Current: slices.Clone(t.Embedding), Made: t.Made}
}

// Back undoes the last change, and can do so once.
func (v Voice) Back() Voice {
	if v.Before != nil {
		v.Current, v.Before = v.Before, nil
	}
	return v
}

// Reset makes the template what was enrolled.
func (v Voice) Reset() Voice {
	v.Current, v.Before = slices.Clone(v.Original), nil
	return v
}

// Compared is a call on which the voice was compared.
type Compared struct {
	Decision voiceprint.Decision
	// Confirmed says that another factor confirmed on this call who it is.
	Confirmed bool
	// Gates are as in Call; a watch list's alarm belongs to them, as WatchListed.
	Gates []voiceprint.Reason
	// Embedding is of all the net speech of the call, which lasts Net.
	Embedding voiceprint.Embedding
	Net       time.Duration
}

// Adaptation changes templates. It is immutable.
type Adaptation struct{ rules AdaptationPolicy }

// NewAdaptation makes the rules for templates that change.
func NewAdaptation(p Policy) (*Adaptation, error) {
	p, err := p.WithDefaults()
	if err != nil {
		return nil, err
	}
	return &Adaptation{p.Adaptation}, nil
}

// Hear takes a comparison. The template changes only by a call that is a high match and
// was confirmed by another factor too; changed says so, and reasons why not.
func (a *Adaptation) Hear(v Voice, c Compared, now time.Time) (next Voice, changed bool, reasons []voiceprint.Reason, err error) {
	if len(c.Embedding) != len(v.Current) || len(v.Original) != len(v.Current) {
		return v, false, nil, fmt.Errorf("enrol: an embedding of %d dimensions for a template of %d: %w", len(c.Embedding), len(v.Current), voiceprint.ErrModel)
	}
	match := c.Decision.Outcome == voiceprint.Match
	switch {
	case len(c.Gates) > 0:
		return v, false, slices.Clone(c.Gates), nil
	case !match && !c.Confirmed:
		return v, false, []voiceprint.Reason{NotConfirmed}, nil
	case c.Net < a.rules.Net:
		return v, false, []voiceprint.Reason{voiceprint.TooLittle}, nil
	}
	// A person who was confirmed and sounds otherwise is what a trend is made of too.
	v.Likeness = append(slices.Clone(v.Likeness), Likeness{now, voiceprint.Cosine(v.Current, c.Embedding)})
	v.Likeness = v.Likeness[max(0, len(v.Likeness)-mostMatches):]
	if match {
		v.Heard = now
	}
	if !c.Confirmed {
		reasons = append(reasons, NotConfirmed)
	}
	if !match || c.Decision.LLR < a.rules.LLR {
		reasons = append(reasons, TooWeak)
	}
	if !v.Changed.IsZero() && now.Sub(v.Changed) < a.rules.Every {
		reasons = append(reasons, TooSoon)
	}
	if len(reasons) > 0 {
		return v, false, reasons, nil
	}
	e, err := mean([]weighted{{v.Current, 1 - a.rules.Weight}, {c.Embedding, a.rules.Weight}})
	if err != nil {
		return v, false, nil, err
	}
	if voiceprint.Cosine(e, v.Original) < a.rules.Floor {
		return v, false, []voiceprint.Reason{Drifted}, nil
	}
	v.Before, v.Current, v.Changed = v.Current, e, now
	v.Changes++
	return v, true, nil, nil
}

// Renew says why the person should be enrolled anew; nil means that there is no need.
func (a *Adaptation) Renew(v Voice, now time.Time) []voiceprint.Reason {
	var out []voiceprint.Reason
	if now.Sub(v.Made) >= a.rules.Age {
		out = append(out, voiceprint.Expired)
	}
	last := v.Heard
	if last.IsZero() {
		last = v.Made
	}
	if now.Sub(last) >= a.rules.Idle {
		out = append(out, Unused)
	}
	if fall(v.Likeness) >= a.rules.Fall {
		out = append(out, Declining)
	}
	return out
}

// fall is how far the cosines have fallen over the calls, or 0 where that could be
// chance. A few calls that were somebody else's, or bad, hardly move it: the slope is
// the median of those between each two calls (Theil 1950, Sen 1968), and whether it is
// chance is told by their signs (Mann 1945, Kendall).
func fall(all []Likeness) float64 {
	n := len(all)
	if n < fewMatches {
		return 0
	}
	var slopes []float64
	var s float64
	for i, b := range all {
		for _, a := range all[:i] {
			if by := b.At.Sub(a.At).Hours(); by > 0 {
				slopes = append(slopes, (b.Cosine-a.Cosine)/by)
			}
			switch {
			case b.Cosine > a.Cosine:
				s++
			case b.Cosine < a.Cosine:
				s--
			}
		}
	}
	m := float64(n)
	// The statistic goes in steps of 2, hence the 1.
	if z := (s + 1) / math.Sqrt(m*(m-1)*(2*m+5)/18); z > surely || len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	median := (slopes[(len(slopes)-1)/2] + slopes[len(slopes)/2]) / 2
	return -median * all[n-1].At.Sub(all[0].At).Hours()
}
