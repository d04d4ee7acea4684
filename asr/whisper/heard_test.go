package whisper

import (
	"slices"
	"sync"
	"testing"
	"time"

	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// listener checks what decodes with the same memory are given.
type listener struct {
	fake
	t *testing.T

	mu      sync.Mutex
	longest map[*model.Heard][]float32
	decodes int
}

func (l *listener) DecodeAll(jobs []model.Job, done func(int, model.Result, error)) {
	l.mu.Lock()
	for _, j := range jobs {
		long := l.longest[j.Options.Heard]
		n := min(len(long), len(j.Samples))
		if !slices.Equal(long[:n], j.Samples[:n]) {
			l.t.Errorf("%d samples with the memory of others", len(j.Samples))
		}
		if len(j.Samples) > len(long) {
			l.longest[j.Options.Heard] = slices.Clone(j.Samples)
		}
		l.decodes++
	}
	l.mu.Unlock()
	l.fake.DecodeAll(jobs, done)
}

// Each utterance has a memory of its own, also where speech is split, for its
// partials, the decodes at its pauses and its final.
func TestDecodersRememberOneUtterance(t *testing.T) {
	d := &listener{t: t, longest: map[*model.Heard][]float32{}}
	e := engine(t, Config{Workers: 2, MaxUtterance: minUtterance}, d)
	legs := []*leg{newLeg(t, e, "a"), newLeg(t, e, "b")}
	for i, l := range legs {
		l.settle = true
		for n := int16(1); n < 50; n += 10 {
			l.must(speak(l.at, numbers(n, n+int16(10*i))...), begin(l.at))
			l.must(quiet(l.at, 60*time.Millisecond), pause(l.at-1600))
			l.must(speak(l.at, numbers(n+20, n+25)...))
			l.must(quiet(l.at, 500*time.Millisecond), end(l.at-pcm.Samples(100*time.Millisecond)))
		}
		if err := l.finish(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	utterances := len(legs[0].finals) + len(legs[1].finals)
	if utterances < 14 {
		t.Errorf("%d utterances: none was split", utterances)
	}
	if n := len(d.longest); n != utterances || d.longest[nil] != nil {
		t.Errorf("%d memories for %d utterances", n, utterances)
	}
	if d.decodes < 3*utterances {
		t.Errorf("%d decodes of %d utterances", d.decodes, utterances)
	}
}
