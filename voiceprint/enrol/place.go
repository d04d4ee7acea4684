package enrol

import (
	"fmt"
	"math"

	"sidetone/voiceprint"
)

// Placement is what becomes of a new template.
type Placement struct {
	// Into is the ID of the template that Template replaces; empty when it is added to
	// the person's others.
	Into     string
	Template voiceprint.Template
	// Nearest is the cosine to the nearest of the person's other templates, NaN where
	// there is none to compare with.
	Nearest float64
}

// Place says what a new template is to those that the person has. Those of other models
// do not count. It must agree with them as a whole, else the error is a *RefusalError:
// who can be told only by another factor is enrolled anew, after their templates are
// erased. Then
//
//   - where there is one of the same line, the two are merged;
//   - where the nearest is as good as the same, line or not, it is merged with that: the
//     line makes no difference to this voice;
//   - where the person has as many as may be, too;
//   - else it is added: over this line the voice sounds otherwise.
//
// Merging is a mean by net speech; ID, line and date stay those of the older one.
func Place(p Policy, scorer voiceprint.Scorer, have []voiceprint.Template, t voiceprint.Template) (Placement, error) {
	p, err := p.WithDefaults()
	if err != nil {
		return Placement{}, err
	}
	model := scorer.Info().Model
	if t.Model != model.ID || len(t.Embedding) != model.Dim {
		return Placement{}, fmt.Errorf("enrol: the new template has %d dimensions of %s, the calibration is for %s: %w", len(t.Embedding), t.Model, model.ID, voiceprint.ErrModel)
	}
	out := Placement{Template: t, Nearest: math.NaN()}
	var all []voiceprint.Embedding
	var nearest, same *voiceprint.Template
	for i := range have {
		h := &have[i]
		if h.Model != model.ID || len(h.Embedding) != model.Dim {
			continue
		}
		all = append(all, h.Embedding)
		if c := voiceprint.Cosine(h.Embedding, t.Embedding); nearest == nil || c > out.Nearest {
			nearest, out.Nearest = h, c
		}
		if h.Line == t.Line {
			same = h
		}
	}
	if nearest == nil {
		return out, nil
	}
	llr, err := scorer.LLR(all, t.Embedding, t.Quality.Net)
	if err != nil {
		return Placement{}, fmt.Errorf("enrol: comparing with the person's templates: %w", err)
	}
	if llr < p.Agree {
		why := voiceprint.Between
		if llr < 0 {
			why = Disagrees
		}
		return Placement{}, &RefusalError{Reasons: []voiceprint.Reason{why}, Report: Report{Net: t.Quality.Net, Quality: t.Quality}}
	}
	into := same
	if into == nil && (out.Nearest >= p.Explicit.Near || len(all) >= p.Explicit.Most) {
		into = nearest
	}
	if into == nil {
		return out, nil
	}
	out.Into = into.ID
	out.Template, err = merge(*into, t)
	return out, err
}

func merge(old, fresh voiceprint.Template) (voiceprint.Template, error) {
	e, err := mean([]weighted{{old.Embedding, weight(old)}, {fresh.Embedding, weight(fresh)}})
	if err != nil {
		return old, err
	}
	var q average
	q.add(old.Quality, old.Quality.Net)
	q.add(fresh.Quality, fresh.Quality.Net)
	old.Embedding, old.Quality = e, q.quality()
	old.Source += "; " + fresh.Source
	return old, nil
}

// weight is the net speech in seconds; one of unknown length counts as a second.
func weight(t voiceprint.Template) float64 { return max(t.Quality.Net.Seconds(), 1) }
