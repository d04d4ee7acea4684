package trace

import (
	"encoding/json"
	"time"

	"sidetone/internal/journal"
)

// maxSpans bounds the spans of a call; a long call has some thousands.
const maxSpans = 20000

// Span is one piece of a call's life. It holds no words, no names and no
// addresses: what a trace collector keeps is kept elsewhere, by other rules.
type Span struct {
	Name string
	// Parent is the index of the span that it is a part of; -1: of none.
	Parent     int
	Start, End time.Time
	Attributes []Attribute
	Moments    []Moment
	// Failed says, in a word, that it did not end as it should.
	Failed string
}

// Attribute is a property: a string, bool, int64 or float64.
type Attribute struct {
	Key   string
	Value any
}

// Moment is what happened within a span.
type Moment struct {
	Name string
	At   time.Time
}

// Builder makes the spans of one call out of its events, given in their order:
//
//	call ─┬─ leg ─── utterance   end of speech → its final
//	      └─ card                end of the word → shown → painted
//
// It keeps no event. The zero value is ready for a call's first event.
type Builder struct {
	spans []Span
	// start is the zero of the call's clock, last the newest event's time.
	start, last time.Time
	legs, cards map[string]int
	over        bool
	// left counts what is missing because of maxSpans.
	left int64
}

// Spans are those of all events of a call.
func Spans(events []journal.Event) ([]Span, error) {
	var b Builder
	for _, e := range events {
		if err := b.Add(e); err != nil {
			return nil, err
		}
	}
	return b.Spans(), nil
}

// Add takes the next event. The first must be CallStarted; what comes before it is
// left out.
func (b *Builder) Add(e journal.Event) error {
	if e.At.After(b.last) {
		b.last = e.At
	}
	if e.Kind != journal.CallStarted && b.spans == nil {
		return nil
	}
	switch e.Kind {
	case journal.CallStarted:
		return read(e, func(s *journal.Started) { b.begin(e, s) })
	case journal.CallPaused, journal.CallResumed, journal.CallContinued, journal.CallAssigned:
		b.moment(0, string(e.Kind), e.At)
	case journal.CallEnded:
		return read(e, func(x *journal.Ended) { b.end(x) })
	case journal.LegChanged, journal.LegLocated, journal.LegFared:
		return b.leg(e)
	case journal.UtteranceFinal:
		return read(e, func(f *journal.Final) { b.final(e, f) })
	case journal.CardShown, journal.CardPainted, journal.CardAnswered, journal.CardWithdrawn:
		return b.card(e)
	}
	return nil
}

// Spans are the call's as far as it is known: what has not ended ends with the
// newest event. Parents come before their parts.
func (b *Builder) Spans() []Span {
	out := make([]Span, len(b.spans))
	copy(out, b.spans)
	for i := range out {
		s := &out[i]
		if s.End.IsZero() {
			s.End = b.last
		}
		// The clock may have been set back meanwhile.
		if s.End.Before(s.Start) {
			s.End = s.Start
		}
	}
	if len(out) > 0 && b.left > 0 {
		out[0].Attributes = append(out[0].Attributes[:len(out[0].Attributes):len(out[0].Attributes)], Attribute{"sidetone.spans_left_out", b.left})
	}
	return out
}

func (b *Builder) begin(e journal.Event, s *journal.Started) {
	if b.spans != nil {
		return
	}
	b.start, b.legs, b.cards = s.Started, map[string]int{}, map[string]int{}
	attrs := []Attribute{{"sidetone.call.key", e.Key}, {"sidetone.call.source", s.Source}}
	for _, a := range []Attribute{{"sidetone.node", e.Node}, {"sidetone.call.direction", s.Direction}, {"sidetone.call.language", s.Language}} {
		if a.Value != "" {
			attrs = append(attrs, a)
		}
	}
	b.spans = []Span{{Name: "call", Parent: -1, Start: s.Started, Attributes: attrs}}
}

func (b *Builder) end(x *journal.Ended) {
	if b.over {
		return
	}
	b.over = true
	root := &b.spans[0]
	root.End = x.At
	root.Attributes = append(root.Attributes, Attribute{"sidetone.call.state", x.State})
	if x.State != "ended" {
		root.Failed = x.State
	}
	b.moment(0, "call.ended", x.At)
}

// add makes a span, unless there are too many.
func (b *Builder) add(s Span) int {
	if len(b.spans) >= maxSpans {
		b.left++
		return -1
	}
	b.spans = append(b.spans, s)
	return len(b.spans) - 1
}

func (b *Builder) moment(i int, name string, at time.Time) {
	if s := &b.spans[i]; len(s.Moments) < maxSpans {
		s.Moments = append(s.Moments, Moment{name, at})
	}
}

// at places milliseconds of the call's clock.
func (b *Builder) at(ms int64) time.Time { return b.start.Add(time.Duration(ms) * time.Millisecond) }

func (b *Builder) leg(e journal.Event) error {
	switch e.Kind {
	case journal.LegChanged:
		return read(e, func(l *journal.Leg) {
			i, known := b.legs[l.ID]
			if !known || !b.spans[i].End.IsZero() {
				if i = b.add(Span{Name: "leg", Start: e.At}); i < 0 {
					return
				}
				b.legs[l.ID] = i
			}
			set(&b.spans[i], "sidetone.leg.role", l.Role)
		})
	case journal.LegLocated:
		return read(e, func(l *journal.Located) {
			if i, ok := b.legs[l.Leg]; ok && l.Codec != "" {
				set(&b.spans[i], "sidetone.leg.codec", l.Codec)
			}
		})
	default:
		return read(e, func(f *journal.Fared) {
			i, ok := b.legs[f.Leg]
			if !ok {
				return
			}
			s := &b.spans[i]
			set(s, "sidetone.leg.packets_received", int64(f.Stats.Received))
			set(s, "sidetone.leg.packets_lost", int64(f.Stats.Lost))
			set(s, "sidetone.leg.packets_late", int64(f.Stats.Late))
			set(s, "sidetone.leg.frames_concealed", int64(f.Stats.ConcealedFrames))
			set(s, "sidetone.leg.frames_dropped", int64(f.Stats.DroppedFrames))
			set(s, "sidetone.leg.jitter_ms", f.Stats.JitterMS)
			if f.Over {
				s.End = e.At
			}
		})
	}
}

// final is the time in which what had been said was still unknown.
func (b *Builder) final(e journal.Event, f *journal.Final) {
	parent := b.legs[f.Leg] // the call, where the leg is not known
	b.add(Span{
		Name: "utterance", Parent: parent, Start: b.at(f.EndMS), End: e.At,
		Attributes: []Attribute{
			{"sidetone.leg.role", f.Role}, {"sidetone.utterance.number", int64(f.Utterance)},
			{"sidetone.utterance.revision", int64(f.Revision)}, {"sidetone.utterance.speech_ms", f.EndMS - f.StartMS},
			{"sidetone.utterance.words", int64(len(f.Words))},
		},
	})
}

// shown is what a span tells of a card.
type shown struct {
	Kind string `json:"kind"`
	Why  struct {
		Rule    string `json:"rule"`
		Intent  string `json:"intent"`
		Element string `json:"element"`
		Words   []struct {
			EndMS int64 `json:"end_ms"`
		} `json:"words"`
	} `json:"why"`
}

func (b *Builder) card(e journal.Event) error {
	switch e.Kind {
	case journal.CardShown:
		return read(e, func(c *journal.Card) {
			var x shown
			// A card of a form that is not known is shown all the same.
			_ = json.Unmarshal(c.Card, &x)
			s := Span{Name: "card", Start: e.At, Moments: []Moment{{string(e.Kind), e.At}}, Attributes: []Attribute{
				{"sidetone.card.kind", x.Kind}, {"sidetone.card.rule", x.Why.Rule},
				{"sidetone.card.intent", x.Why.Intent}, {"sidetone.card.element", x.Why.Element},
			}}
			if n := len(x.Why.Words); n > 0 {
				s.Start = b.at(x.Why.Words[n-1].EndMS)
			}
			if i := b.add(s); i >= 0 {
				b.cards[c.ID] = i
			}
		})
	case journal.CardPainted:
		return read(e, func(p *journal.Painted) {
			i, ok := b.cards[p.ID]
			if !ok || !b.spans[i].End.IsZero() {
				return
			}
			s := &b.spans[i]
			s.End = p.At
			if p.FromWords {
				s.Start = p.At.Add(-time.Duration(p.LatencyMS) * time.Millisecond)
				set(s, "sidetone.card.latency_ms", p.LatencyMS)
			}
			b.moment(i, string(e.Kind), p.At)
		})
	case journal.CardAnswered:
		return read(e, func(a *journal.Answered) {
			if i, ok := b.cards[a.ID]; ok {
				set(&b.spans[i], "sidetone.card.answer", a.State)
				b.moment(i, string(e.Kind), e.At)
			}
		})
	default:
		return read(e, func(w *journal.Withdrawn) {
			if i, ok := b.cards[w.ID]; ok {
				b.moment(i, string(e.Kind), e.At)
				if b.spans[i].End.IsZero() {
					b.spans[i].End = e.At
				}
			}
		})
	}
}

// set gives a span a property, or changes it.
func set(s *Span, key string, v any) {
	for i := range s.Attributes {
		if s.Attributes[i].Key == key {
			s.Attributes[i].Value = v
			return
		}
	}
	s.Attributes = append(s.Attributes, Attribute{key, v})
}

func read[T any](e journal.Event, do func(*T)) error {
	b := new(T)
	if err := e.Into(b); err != nil {
		return err
	}
	do(b)
	return nil
}
