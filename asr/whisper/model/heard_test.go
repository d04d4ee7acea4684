package model

import (
	"slices"
	"testing"
)

// TestHeard: decodes that remember what was heard hear the same as those that
// do not, whether there is more of the recording or less, and from whichever
// decoder it is.
func TestHeard(t *testing.T) {
	m := made(t, madeEnglish)
	decoders := []*Decoder{m.NewDecoder(), m.NewDecoder()}
	x := noise(madeAudio * FrameSamples)
	hear := func(d *Decoder, x []float32, o Options) []float32 {
		t.Helper()
		var mem memory
		if err := d.encode(t.Context(), &mem, x, madeAudio, &o); err != nil {
			t.Fatal(err)
		}
		return recall(m, &mem)
	}
	var h Heard
	for i, n := range []int{900, 5000, 5000, 5100, 12345, 8000, 300, 160, madeAudio * FrameSamples} {
		d := decoders[i%2]
		o := Options{Subtract: i%3 == 2}
		want := hear(d, x[:n], o)
		o.Heard = &h
		if !slices.Equal(hear(d, x[:n], o), want) {
			t.Errorf("decode %d, of %d samples, hears something else", i, n)
		}
	}
	// What is remembered is not listened to again.
	o := Options{Heard: &h}
	want, other := hear(decoders[0], x[:8000], o), slices.Clone(x[:8000])
	clear(other[:7000])
	if !slices.Equal(hear(decoders[0], other, o), want) {
		t.Error("what was heard is computed anew")
	}
	a, err := decoders[0].Decode(t.Context(), x, Options{Heard: &h})
	if err != nil {
		t.Fatal(err)
	}
	b, err := decoders[0].Decode(t.Context(), x, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Text != b.Text || !slices.Equal(a.LogProbs, b.LogProbs) {
		t.Errorf("%q with what was heard, %q without", a.Text, b.Text)
	}
}
