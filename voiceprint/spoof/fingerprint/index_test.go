package fingerprint

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sidetone/internal/pcm"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func index(t testing.TB, c IndexConfig) *Index {
	t.Helper()
	x, err := NewIndex(c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestIndexFinds(t *testing.T) {
	x := index(t, IndexConfig{})
	for i := range uint64(20) {
		x.Add(Source{Person: "p", Call: fmt.Sprint("call ", i)}, printOf(t, chatter(i, 8*time.Second)), noon)
	}
	for _, i := range []uint64{0, 7, 19} {
		again := chatter(i, 8*time.Second)[pcm.Samples(3*time.Second):]
		again = append(chatter(1000, 3*time.Second), noisy(tilted(again), 15)...)
		p := printOf(t, again)
		hits := x.Find(p, 0, noon.Add(time.Hour))
		if len(hits) != 1 || hits[0].Source.Call != fmt.Sprint("call ", i) || hits[0].Length < 2500*time.Millisecond || hits[0].A < 2*time.Second || hits[0].A > 3500*time.Millisecond || (hits[0].A-hits[0].B).Abs() > 4*Step || !hits[0].Heard.Equal(noon) {
			t.Errorf("call %d again: %+v", i, hits)
		}
		// Second by second, as a call goes on, it is found too.
		found := time.Duration(0)
		for n := 50; n <= len(p) && found == 0; n += 50 {
			if h := x.Find(p[:n], n-50, noon); len(h) > 0 {
				found = time.Duration(n) * Step
			}
		}
		if found == 0 || found > 7*time.Second {
			t.Errorf("call %d again from 3 s on: seen after %v", i, found)
		}
	}
	if hits := x.Find(printOf(t, chatter(500, 8*time.Second)), 0, noon); len(hits) != 0 {
		t.Errorf("what was never said: %+v", hits)
	}
}

func TestIndexForgets(t *testing.T) {
	said := printOf(t, chatter(1, 8*time.Second))
	x := index(t, IndexConfig{Capacity: time.Minute, Keep: time.Hour})
	x.Add(Source{Person: "p", Call: "first"}, said, noon)
	if h := x.Find(said, 0, noon.Add(time.Hour)); len(h) != 1 {
		t.Fatalf("within the hour: %+v", h)
	}
	if h := x.Find(said, 0, noon.Add(time.Hour+time.Second)); len(h) != 0 {
		t.Errorf("after the hour: %+v", h)
	}
	if n := x.Remove(func(s Source) bool { return s.Call == "first" }); n != 1 || x.Len() != 0 {
		t.Errorf("removed %d, left %d", n, x.Len())
	}
	if h := x.Find(said, 0, noon); len(h) != 0 {
		t.Errorf("removed: %+v", h)
	}
	x.Add(Source{Person: "p", Call: "second"}, said, noon)
	for i := range 7 {
		x.Add(Source{Person: "p", Call: "others"}, printOf(t, chatter(uint64(10+i), 8*time.Second)), noon)
	}
	if h := x.Find(said, 0, noon); len(h) != 0 || x.Len() != 7 {
		t.Errorf("overwritten: %+v, %d legs", h, x.Len())
	}
	x.Add(Source{Person: "p", Call: "late"}, said, noon.Add(2*time.Hour))
	if x.Len() != 1 {
		t.Errorf("%d legs after two hours, want the new one", x.Len())
	}
	x.Add(Source{Person: "p", Call: "long"}, make(Print, 10000), noon.Add(2*time.Hour))
	if h := x.Find(said, 0, noon.Add(2*time.Hour)); len(h) != 0 || x.Len() != 1 {
		t.Errorf("after a leg as long as the index: %+v, %d legs", h, x.Len())
	}
	for _, c := range []IndexConfig{{Capacity: time.Second}, {Keep: -1}} {
		if _, err := NewIndex(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

// BenchmarkFind is a second of a caller's speech against 10 h of others': 44 minutes
// as they are, and their words shuffled for the rest, so that keys are as common as
// those of speech.
func BenchmarkFind(b *testing.B) {
	x := index(b, IndexConfig{})
	rnd := rand.New(rand.NewPCG(1, 2))
	var heard []Print
	for _, s := range speakers(b) {
		heard = append(heard, printOf(b, read(b, filepath.Join(s, "enrol_tel.wav"))))
	}
	for i := range 1200 {
		p := slices.Clone(heard[i%len(heard)])
		if i >= len(heard) {
			rnd.Shuffle(len(p), func(j, k int) { p[j], p[k] = p[k], p[j] })
		}
		x.Add(Source{Call: fmt.Sprint(i)}, p, noon)
	}
	p := printOf(b, read(b, filepath.Join(speakers(b)[0], "test1_tel.wav")))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		from := 100 + 50*(i%12)
		x.Find(p[:from+50], from, noon)
	}
}

func TestIndexHas(t *testing.T) {
	x := index(t, IndexConfig{})
	s := Source{Person: "p", Call: "1"}
	if x.Has(s) {
		t.Error("an empty index has a leg")
	}
	x.Add(s, printOf(t, chatter(1, 3*time.Second)), noon)
	if !x.Has(s) || x.Has(Source{Person: "p", Call: "2"}) {
		t.Error("it has another leg than it was given")
	}
	x.Remove(func(o Source) bool { return o == s })
	if x.Has(s) {
		t.Error("what was removed is there")
	}
}
