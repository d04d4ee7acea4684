package enrol

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/voiceprint"
)

var monday = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func session(t *testing.T, e *ears) *Session {
	t.Helper()
	s, err := NewSession(SessionConfig{Embedder: e, Scorer: scales{}, Line: "phone", Source: "files"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func piece(name string, who float32, seconds float64) Piece {
	return Piece{
		Name: name, Speech: slices.Repeat([]float32{who}, int(seconds*voiceprint.Rate)),
		Quality: voiceprint.Quality{SNR: 20, Level: -25, Edge: 3400, Reverberation: math.NaN(), Unlike: math.NaN()},
	}
}

func addAll(t *testing.T, s *Session, pieces ...Piece) {
	t.Helper()
	for _, p := range pieces {
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
}

func report(t *testing.T, s *Session) Report {
	t.Helper()
	r, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSessionEnrols(t *testing.T) {
	e := newEars(1)
	s := session(t, e)
	for i := range 35 {
		addAll(t, s, piece("a", 0, 1))
		r := report(t, s)
		if want := min(100, (i+1)*100/30); r.Percent != want || r.Net != time.Duration(i+1)*time.Second {
			t.Fatalf("after %d s: %d %%, %v", i+1, r.Percent, r.Net)
		}
		if little := slices.Contains(r.Reasons, voiceprint.TooLittle); little != (i+1 < 20) || r.Recommended != (i+1 >= 30) {
			t.Fatalf("after %d s: %v, recommended %v", i+1, r.Reasons, r.Recommended)
		}
		if want := time.Duration(max(0, 20-i-1)) * time.Second; r.Missing != want {
			t.Fatalf("after %d s %v is missing, want %v", i+1, r.Missing, want)
		}
	}
	got, r, err := s.Finish("7", monday)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "7" || got.Line != "phone" || got.Source != "files" || got.Model != testModel.ID || !got.Made.Equal(monday) {
		t.Errorf("got %+v", got)
	}
	if n := voiceprint.Cosine(got.Embedding, got.Embedding); math.Abs(n-1) > 1e-5 {
		t.Errorf("the template's squared length is %v", n)
	}
	if c := voiceprint.Cosine(got.Embedding, e.crowd.call(e.people[0], 0)); c < 0.9 {
		t.Errorf("the cosine to the person's voice is %v", c)
	}
	if q := got.Quality; q.Net != 35*time.Second || math.Abs(q.SNR-20) > 1e-9 || !math.IsNaN(q.Reverberation) || !(q.Unlike < 0.1) {
		t.Errorf("quality %+v", q)
	}
	// 10, 10, and the rest of 15 s or less.
	var ends []time.Duration
	for _, c := range r.Chunks {
		ends = append(ends, c.End)
		if c.Other || !slices.Equal(c.Names, []string{"a"}) {
			t.Errorf("chunk %+v", c)
		}
	}
	if !slices.Equal(ends, []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 35 * time.Second}) {
		t.Errorf("chunks end at %v", ends)
	}
	if err := s.Add(piece("b", 0, 1)); !errors.Is(err, ErrDone) {
		t.Errorf("more speech after the end: %v", err)
	}
	if _, _, err := s.Finish("8", monday); !errors.Is(err, ErrDone) {
		t.Errorf("a second template: %v", err)
	}
}

// How speech is cut into pieces makes no difference to the chunks.
func TestPiecesOfAnyLength(t *testing.T) {
	for _, seconds := range []float64{0.02, 0.7, 4, 27} {
		s := session(t, newEars(2))
		for n := int(27 / seconds); n > 0; n-- {
			addAll(t, s, piece("a", 0, seconds))
		}
		_, r, err := s.Finish("1", monday)
		if err != nil {
			t.Fatal(err)
		}
		var end time.Duration
		for i, c := range r.Chunks {
			if d := c.End - c.Begin; c.Begin != end || d < 5*time.Second || d >= 15*time.Second || i+1 < len(r.Chunks) && d != 10*time.Second {
				t.Errorf("pieces of %v s: chunk %d is %+v", seconds, i, c)
			}
			end = c.End
		}
		if end != r.Net {
			t.Errorf("pieces of %v s: chunks end at %v of %v", seconds, end, r.Net)
		}
	}
}

func TestSessionRefuses(t *testing.T) {
	gated := func(p Piece, g ...voiceprint.Reason) Piece { p.Gates = g; return p }
	for name, c := range map[string]struct {
		pieces  []Piece
		reasons []voiceprint.Reason
		others  []string
		refused int
	}{
		"nothing":      {nil, []voiceprint.Reason{voiceprint.TooLittle}, nil, 0},
		"too little":   {[]Piece{piece("a", 0, 19.9)}, []voiceprint.Reason{voiceprint.TooLittle}, nil, 0},
		"enough noise": {[]Piece{piece("a", 0, 19), gated(piece("b", 0, 19), voiceprint.Noise)}, []voiceprint.Reason{voiceprint.TooLittle}, nil, 1},
		"empty":        {[]Piece{piece("a", 0, 19), piece("b", 0, 0)}, []voiceprint.Reason{voiceprint.TooLittle}, nil, 1},
		"another in the middle": {
			[]Piece{piece("a", 0, 10), piece("b", 1, 10), piece("c", 0, 10)},
			[]voiceprint.Reason{voiceprint.SeveralVoices}, []string{"b"}, 0,
		},
		"another at first": {
			[]Piece{piece("a", 1, 10), piece("b", 0, 30)},
			[]voiceprint.Reason{voiceprint.SeveralVoices}, []string{"a"}, 0,
		},
		"another at last": {
			[]Piece{piece("a", 0, 20), piece("b", 2, 8)},
			[]voiceprint.Reason{voiceprint.SeveralVoices}, []string{"b"}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := session(t, newEars(3))
			addAll(t, s, c.pieces...)
			_, r, err := s.Finish("1", monday)
			var refusal *RefusalError
			if !errors.As(err, &refusal) || !slices.Equal(refusal.Reasons, c.reasons) || len(r.Refused) != c.refused {
				t.Fatalf("got %v, %+v", err, r)
			}
			var others []string
			for _, ch := range r.Chunks {
				if ch.Other {
					others = append(others, ch.Names...)
				}
			}
			if !slices.Equal(others, c.others) {
				t.Errorf("another voice in %v, want %v", others, c.others)
			}
			for _, o := range others {
				if !strings.Contains(err.Error(), "("+o+")") {
					t.Errorf("the error does not name %s: %v", o, err)
				}
			}
			if len(others) > 0 && !(r.Quality.Unlike > 0.9) {
				t.Errorf("two voices are unlike by %v only", r.Quality.Unlike)
			}
		})
	}
}

// There is an end to what a session takes, also of one long piece; and what is refused
// bit by bit is one line in the report.
func TestSessionIsBounded(t *testing.T) {
	s := session(t, newEars(6))
	music := piece("a", 0, 0.02)
	music.Gates = []voiceprint.Reason{voiceprint.Music}
	addAll(t, s, music, music, piece("a", 0, 400), music, piece("a", 0, 1))
	_, r, err := s.Finish("1", monday)
	if err != nil {
		t.Fatal(err)
	}
	want := []Refused{
		{"a", 40 * time.Millisecond, []voiceprint.Reason{voiceprint.Music}},
		{"a", 75 * time.Second, []voiceprint.Reason{Enough}},
		{"a", 20 * time.Millisecond, []voiceprint.Reason{voiceprint.Music}},
		{"a", time.Second, []voiceprint.Reason{Enough}},
	}
	if r.Net != 325*time.Second || r.Quality.Net != r.Net || !reflect.DeepEqual(r.Refused, want) {
		t.Errorf("of %v, %v measured: %+v", r.Net, r.Quality.Net, r.Refused)
	}
}

// A refusal for want of speech is not the end, and leaves the speech as it was.
func TestMoreAfterARefusal(t *testing.T) {
	e := newEars(4)
	s := session(t, e)
	addAll(t, s, piece("a", 0, 19))
	var refusal *RefusalError
	if _, _, err := s.Finish("1", monday); !errors.As(err, &refusal) || refusal.Report.Missing != time.Second {
		t.Fatalf("got %v", err)
	}
	e.err = errors.New("out of order")
	addAll(t, s, piece("b", 0, 1))
	if _, _, err := s.Finish("1", monday); !errors.Is(err, e.err) {
		t.Fatalf("the embedder is %v", err)
	}
	e.err = nil
	if _, r, err := s.Finish("1", monday); err != nil || r.Net != 20*time.Second || len(r.Chunks) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Hardly any person is refused for two voices, and hardly any two voices pass.
func TestConsistencyRates(t *testing.T) {
	wrong, missed := 0, 0
	const trials = 200
	for i := range uint64(trials) {
		e := newEars(100 + i)
		s := session(t, e)
		addAll(t, s, piece("a", 0, 30))
		if _, _, err := s.Finish("1", monday); err != nil {
			wrong++
		}
		s = session(t, e)
		addAll(t, s, piece("a", 0, 20), piece("b", 1, 10))
		if _, _, err := s.Finish("1", monday); err == nil {
			missed++
		}
	}
	t.Logf("of %d: %d of one voice refused, %d of two enrolled", trials, wrong, missed)
	if wrong > 2 || missed > 4 {
		t.Error("too many")
	}
}

func TestSessionConfig(t *testing.T) {
	other := &otherEars{newEars(5)}
	if _, err := NewSession(SessionConfig{Embedder: other, Scorer: scales{}}); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another model: %v", err)
	}
	if _, err := NewSession(SessionConfig{Embedder: newEars(5), Scorer: scales{}, Policy: Policy{Agree: -1}}); err == nil {
		t.Error("a policy that cannot be meant: no error")
	}
}

type otherEars struct{ *ears }

func (*otherEars) Model() voiceprint.Model { return voiceprint.Model{ID: "other", Dim: 192} }

func TestPolicy(t *testing.T) {
	got, err := Policy{}.WithDefaults()
	if err != nil || got != DefaultPolicy() {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := (Policy{Passive: PassivePolicy{Calls: 3}}).WithDefaults(); err != nil || got.Passive.Calls != 3 || got.Passive.Net != 30*time.Second {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, change := range map[string]func(*Policy){
		"less recommended": func(p *Policy) { p.Explicit.Recommended = time.Second },
		"short chunks":     func(p *Policy) { p.Explicit.Chunk = time.Second },
		"long chunks":      func(p *Policy) { p.Explicit.Chunk = time.Minute },
		"negative time":    func(p *Policy) { p.Passive.Keep = -1 },
		"keep":             func(p *Policy) { p.Passive.Keep = time.Hour },
		"calls":            func(p *Policy) { p.Passive.Calls = mostCandidates + 1 },
		"speech":           func(p *Policy) { p.Passive.Net = time.Hour },
		"negative count":   func(p *Policy) { p.Explicit.Most = -1 },
		"agree":            func(p *Policy) { p.Agree = -1 },
		"not a number":     func(p *Policy) { p.Explicit.OneVoice = math.NaN() },
		"near":             func(p *Policy) { p.Explicit.Near = 1 },
		"floor":            func(p *Policy) { p.Adaptation.Floor = 1.1 },
		"fall":             func(p *Policy) { p.Adaptation.Fall = -0.1 },
		"weight":           func(p *Policy) { p.Adaptation.Weight = 0.9 },
	} {
		p := DefaultPolicy()
		change(&p)
		if _, err := p.WithDefaults(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
