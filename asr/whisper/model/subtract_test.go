package model

import (
	"slices"
	"testing"
)

// TestSubtract: with the option the model hears what dsp.Mel.Subtract leaves of
// the features, without it all of them.
func TestSubtract(t *testing.T) {
	m, err := Load(madeFolder(madeEnglish), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := m.NewDecoder()
	x := noise(8000)
	heard := func(o Options) []float32 {
		t.Helper()
		var mem memory
		if err := d.encode(t.Context(), &mem, x, madeAudio, &o); err != nil {
			t.Fatal(err)
		}
		return recall(m, &mem)
	}
	all, less := heard(Options{}), heard(Options{Subtract: true})
	if slices.Equal(all, less) {
		t.Error("nothing is subtracted")
	}
	if !slices.Equal(all, heard(Options{})) {
		t.Error("one decode changes the next")
	}
	a, err := d.Decode(t.Context(), x, Options{MaxTokens: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Decode(t.Context(), x, Options{MaxTokens: 1, Subtract: true})
	if err != nil {
		t.Fatal(err)
	}
	if a.NoSpeechProb == b.NoSpeechProb {
		t.Error("Decode takes no notice of the option")
	}
}
