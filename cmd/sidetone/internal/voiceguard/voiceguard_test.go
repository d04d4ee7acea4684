package voiceguard

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/pcm"
	"sidetone/internal/seal"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/spoof"
	"sidetone/voiceprint/spoof/fingerprint"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

var (
	by   = voicestore.Actor{Name: "system:here"}
	said = voicestore.Consent{Text: "3", How: "spoken"}
)

// diary is an audit log that keeps nothing.
type diary struct{}

func (diary) Append(context.Context, audit.Entry) error { return nil }

func openStore(t testing.TB) *voicestore.Store {
	t.Helper()
	dir := t.TempDir()
	keys, err := seal.Open(seal.Config{Dir: dir, Kind: seal.X25519})
	if err != nil {
		t.Fatal(err)
	}
	s, err := voicestore.Open(t.Context(), voicestore.Config{DB: storetest.Open(t, storetest.SQLite(t)), Keys: keys, KeyDir: dir, Audit: diary{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tune is eight tones that change ten times a second; another seed is another tune.
func tune(seed uint64, d time.Duration) []int16 {
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, pcm.Samples(d))
	var hz, level, phase [8]float64
	for i := range out {
		if i%1600 == 0 {
			for k := range hz {
				hz[k], level[k] = 300+3000*rnd.Float64(), rnd.Float64()
			}
		}
		var s float64
		for k := range hz {
			phase[k] += hz[k] / pcm.Rate
			s += level[k] * math.Sin(2*math.Pi*phase[k])
		}
		out[i] = int16(1500 * s)
	}
	return out
}

func printed(t testing.TB, x []int16) fingerprint.Print {
	t.Helper()
	r, err := fingerprint.NewRecorder(0)
	if err != nil {
		t.Fatal(err)
	}
	frames(x, func(f *pcm.Frame) { r.Hear(f, true) })
	return slices.Clone(r.Print())
}

func frames(x []int16, do func(*pcm.Frame)) {
	var f pcm.Frame
	for at := 0; at+pcm.FrameSamples <= len(x); at += pcm.FrameSamples {
		copy(f.Samples[:], x[at:])
		f.Start = int64(at)
		do(&f)
	}
}

// leg is a guard and what it told.
type leg struct {
	*Guard
	customer bool
	seen     []spoof.Name
	against  []voiceprint.Reason
}

func guard(t testing.TB, p *Prints, call string) *leg {
	t.Helper()
	l := &leg{customer: true}
	g, err := New(Config{
		Prints: p, Call: call, Customer: func() bool { return l.customer },
		Seen: func(n spoof.Name) { l.seen = append(l.seen, n) }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Guard = g
	return l
}

func (l *leg) hear(t testing.TB, x []int16) {
	t.Helper()
	frames(x, func(f *pcm.Frame) {
		l.Hear(f, true)
		l.against = l.Look(t.Context())
	})
}

// told are the signs of repetition.
func (l *leg) told() []spoof.Name {
	var out []spoof.Name
	for _, s := range l.Signs() {
		if s.Name != spoof.Loudspeaker && s.Name != spoof.Synthetic {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out
}

func memory(t testing.TB, s *voicestore.Store) *Prints {
	t.Helper()
	p, err := NewPrints(PrintsConfig{Store: s, By: by, Keep: 24 * time.Hour, Capacity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What ann was enrolled with and what she said in an earlier call is known when it is
// played, after a restart and on another server, too, until she opts out.
func TestPlayedAgain(t *testing.T) {
	ctx, s := t.Context(), openStore(t)
	enrolment, call := tune(1, 8*time.Second), tune(2, 8*time.Second)
	must(t, s.Consent(ctx, by, "ann", said))
	e := make(voiceprint.Embedding, 4)
	e[0] = 1
	_, err := s.Enrol(ctx, by, "ann", voicestore.Enrolment{Voices: []voicestore.Voice{{
		Template: voiceprint.Template{Model: "m", Embedding: e}, Prints: []fingerprint.Print{printed(t, enrolment)},
	}}})
	must(t, err)
	p := memory(t, s)
	first := guard(t, p, "call 1")
	first.Treat(ctx, "ann")
	first.hear(t, call)
	if len(first.against) > 0 || len(first.told()) > 0 {
		t.Fatalf("of what was never heard: %v", first.Signs())
	}
	first.End(ctx, "ann")

	other := memory(t, s)
	must(t, other.Fill(ctx, time.Now()))
	fresh := memory(t, s)
	for name, memory := range map[string]*Prints{"the same server": p, "after a restart": other, "another server": fresh} {
		l := guard(t, memory, "call 2")
		l.hear(t, enrolment)
		if len(l.against) > 0 {
			t.Errorf("%s: nobody knows who it is, and it speaks against them: %v", name, l.against)
		}
		l.Treat(ctx, "ann")
		if got := l.Look(ctx); !slices.Equal(got, []voiceprint.Reason{voiceprint.SpoofSuspected}) {
			t.Errorf("%s: the enrolment is played: %v", name, got)
		}
		l.hear(t, call)
		if got := l.told(); !slices.Equal(got, []spoof.Name{spoof.EnrolmentReplayed, spoof.Repeated}) {
			t.Errorf("%s: signs %v", name, got)
		}
		// Each is told once.
		if n := len(l.seen); !slices.Contains(l.seen, spoof.Repeated) || n != len(slices.Compact(slices.Sorted(slices.Values(l.seen)))) {
			t.Errorf("%s: told %v", name, l.seen)
		}
		l.Treat(ctx, "bob")
		if got := l.Look(ctx); len(got) > 0 {
			t.Errorf("%s: bob said none of it before: %v", name, got)
		}
		if got := l.told(); !slices.Equal(got, []spoof.Name{spoof.RepeatedElsewhere}) {
			t.Errorf("%s: as bob: %v", name, got)
		}
	}

	must(t, s.OptOut(ctx, by, "ann", voicestore.Consent{}))
	must(t, other.Follow(ctx))
	if n := other.index.Len(); n != 0 {
		t.Errorf("after the opt-out another server remembers %d calls", n)
	}
	last := guard(t, fresh, "call 3")
	last.Treat(ctx, "ann")
	last.hear(t, call)
	if n := fresh.index.Len(); n != 0 || len(last.told()) > 0 {
		t.Errorf("after the opt-out %d calls are remembered; signs %v", n, last.told())
	}
	last.End(ctx, "ann")
	if kept, err := s.PrintSources(ctx); err != nil || len(kept) > 0 || fresh.index.Len() > 0 {
		t.Errorf("after the opt-out is kept %v, %v", kept, err)
	}
}

func TestNothingIsKept(t *testing.T) {
	ctx, s := t.Context(), openStore(t)
	must(t, s.Consent(ctx, by, "ann", said))
	for name, c := range map[string]struct {
		subject  string
		customer bool
		said     time.Duration
	}{
		"not the customer's voice":  {"", true, 5 * time.Second},
		"not the customer's leg":    {"ann", false, 5 * time.Second},
		"somebody who is not asked": {"bob", true, 5 * time.Second},
		"too little":                {"ann", true, time.Second},
	} {
		p := memory(t, s)
		l := guard(t, p, "call")
		l.customer = c.customer
		l.hear(t, tune(5, c.said))
		l.End(ctx, c.subject)
		if kept, err := s.PrintSources(ctx); err != nil || len(kept) > 0 || p.index.Len() > 0 {
			t.Errorf("%s: kept %v, %v", name, kept, err)
		}
	}
}

// A leg that turns out to be the agent's is not looked at any more.
func TestOnlyCustomers(t *testing.T) {
	p := memory(t, openStore(t))
	x := tune(3, 8*time.Second)
	p.index.Add(fingerprint.Source{Person: "p", Call: "1"}, printed(t, x), time.Now())
	l := guard(t, p, "2")
	l.hear(t, x)
	if got := l.told(); !slices.Equal(got, []spoof.Name{spoof.RepeatedElsewhere}) {
		t.Fatalf("signs %v", got)
	}
	l.customer = false
	l.hear(t, x)
	if len(l.Signs()) > 0 || l.detector != nil {
		t.Errorf("of an agent: %v", l.Signs())
	}
	l.customer = true
	l.hear(t, x)
	if got := l.told(); !slices.Equal(got, []spoof.Name{spoof.RepeatedElsewhere}) {
		t.Errorf("a customer again: %v", got)
	}
}

func TestHearAllocatesNothing(t *testing.T) {
	l := guard(t, nil, "1")
	var f pcm.Frame
	l.Hear(&f, true)
	if n := testing.AllocsPerRun(500, func() { l.Hear(&f, true) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkHear(b *testing.B) {
	l := guard(b, nil, "1")
	x := tune(1, time.Second)
	b.ReportAllocs()
	for n := 0; n < b.N; {
		frames(x, func(f *pcm.Frame) {
			l.Hear(f, true)
			n++
		})
	}
}

var model = voiceprint.Model{ID: "m", Dim: 16}

// scorer takes one nat of evidence from 0.5 on for each 0.02 of cosine.
type scorer struct{}

func (scorer) Info() voiceprint.Info { return voiceprint.Info{Model: model} }

func (scorer) LLR(enrolled []voiceprint.Embedding, test voiceprint.Embedding, _ time.Duration) (float64, error) {
	return 50 * (voiceprint.Cosine(enrolled[0], test) - 0.5), nil
}

func (scorer) Threshold(float64) (voiceprint.Operating, error) {
	return voiceprint.Operating{}, errors.New("not measured")
}

func voice(seed uint64) voiceprint.Embedding {
	r := rand.New(rand.NewPCG(seed, 9))
	e := make(voiceprint.Embedding, model.Dim)
	for i := range e {
		e[i] = float32(r.NormFloat64())
	}
	voiceprint.Unit(e)
	return e
}

// counted counts how often the list is read.
type counted struct {
	*watchlist.List
	marks, reads int
}

func (c *counted) Mark(ctx context.Context) (string, error) {
	c.marks++
	return c.List.Mark(ctx)
}

func (c *counted) Voices(ctx context.Context, by voicestore.Actor, model string) (*watchlist.Voices, error) {
	c.reads++
	return c.List.Voices(ctx, by, model)
}

func TestLookout(t *testing.T) {
	ctx, s := t.Context(), openStore(t)
	list := &counted{List: s.Watch()}
	l, err := NewLookout(LookoutConfig{List: list, Scorer: scorer{}, By: by, Searches: 4})
	must(t, err)
	now := time.Now()
	search := func(e voiceprint.Embedding) []string {
		t.Helper()
		hits, serr := l.Search(ctx, e, 10*time.Second, now)
		must(t, serr)
		var out []string
		for _, h := range hits {
			out = append(out, h.ID)
		}
		return out
	}
	if listed, aerr := l.Any(ctx, now); listed || aerr != nil || search(voice(1)) != nil {
		t.Fatalf("an empty list: %v, %v", listed, aerr)
	}
	entry := watchlist.Entry{Model: model.ID, Reason: "r", Basis: "b", Review: now.Add(time.Hour), Expires: now.Add(time.Hour)}
	var ids []string
	for i := range uint64(3) {
		id, aerr := s.Watch().Add(ctx, by, voice(i), entry)
		must(t, aerr)
		ids = append(ids, id)
	}
	if got := search(voice(1)); got != nil {
		t.Errorf("within %v the list is taken to be as it was, found %v", fresh, got)
	}
	now = now.Add(fresh)
	for i := range uint64(3) {
		if got := search(voice(i)); !slices.Equal(got, ids[i:i+1]) {
			t.Errorf("voice %d: %v, want %v", i, got, ids[i:i+1])
		}
	}
	if got := search(voice(77)); got != nil {
		t.Errorf("a stranger: %v", got)
	}
	now = now.Add(fresh)
	search(voice(1))
	if list.marks != 3 || list.reads != 2 {
		t.Errorf("asked %d times, read %d times; want 3 and 2", list.marks, list.reads)
	}
	must(t, s.Watch().Remove(ctx, by, ids[1]))
	now = now.Add(fresh)
	if got := search(voice(1)); got != nil {
		t.Errorf("who was removed: %v", got)
	}
}

func TestKnown(t *testing.T) {
	ctx, s := t.Context(), openStore(t)
	names := map[string]string{}
	for i, who := range []string{"ann", "bob", "cem"} {
		must(t, s.Consent(ctx, by, who, said))
		_, err := s.Enrol(ctx, by, who, voicestore.Enrolment{Voices: []voicestore.Voice{{Template: voiceprint.Template{Model: model.ID, Embedding: voice(uint64(i))}}}})
		must(t, err)
		id, err := s.Pseudonym(who)
		must(t, err)
		names[who] = id
	}
	k, err := ReadKnown(ctx, s, by, scorer{})
	must(t, err)
	for name, c := range map[string]struct {
		voice  uint64
		person string
		want   []string
	}{
		"a new voice":           {50, "dee", nil},
		"ann's as dee":          {0, "dee", []string{names["ann"]}},
		"ann's as ann":          {0, names["ann"], nil},
		"bob's as ann":          {1, names["ann"], []string{names["bob"]}},
		"one enrolled meantime": {60, "eve", []string{"fay"}},
	} {
		if c.want != nil && c.want[0] == "fay" {
			k.Add("fay", voice(60))
		}
		got, err := k.Alike(voice(c.voice), 30*time.Second, c.person)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v, %v", name, got, c.want, err)
		}
	}
}

func TestConfig(t *testing.T) {
	s := openStore(t)
	for name, err := range map[string]error{
		"guard":    second(New(Config{})),
		"policy":   second(New(Config{Customer: func() bool { return true }, Seen: func(spoof.Name) {}, Log: slog.New(slog.DiscardHandler), Policy: spoof.Policy{Veto: []spoof.Name{"bad breath"}}})),
		"prints":   second(NewPrints(PrintsConfig{})),
		"capacity": second(NewPrints(PrintsConfig{Store: s, Capacity: time.Second})),
		"lookout":  second(NewLookout(LookoutConfig{})),
		"searches": second(NewLookout(LookoutConfig{List: s.Watch(), Scorer: scorer{}, Searches: -1})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }
