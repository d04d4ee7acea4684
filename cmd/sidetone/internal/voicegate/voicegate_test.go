// Package voicegate tries the gate for several voices with the network and the space
// that feed it: those are siblings, which know nothing of each other.
package voicegate

import (
	"bytes"
	"encoding/csv"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/media/resample"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
	"sidetone/voiceprint/embed/campplus"
	"sidetone/voiceprint/quality"
)

func engine(t *testing.T) *campplus.Engine {
	t.Helper()
	f, err := os.Open(needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := campplus.Load(f, campplus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// stretches are the first most of a file, embedded.
func stretches(t *testing.T, e voiceprint.Embedder, path string, most int) []voiceprint.Embedding {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r, err := resample.New(a.Rate, voiceprint.Rate)
	if err != nil {
		t.Fatal(err)
	}
	wide := make([]int16, r.MaxOut(len(a.Channels[0])))
	wide = wide[:r.Process(wide, a.Channels[0])]
	var x []float32
	for _, s := range wide {
		x = append(x, float32(s)/32768)
	}
	var out []voiceprint.Embedding
	for ; len(x) >= quality.Stretch && len(out) < most; x = x[quality.Stretch:] {
		v, err := e.Embed(x[:quality.Stretch])
		if errors.Is(err, voiceprint.ErrTooShort) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// speakers are the folders of the evaluation's speakers.
func speakers(t *testing.T) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(needs.Eval(t, "voice", "wav"), "*"))
	if err != nil || len(out) < 60 {
		t.Fatalf("%d speakers: %v", len(out), err)
	}
	return out
}

var full = flag.Bool("full", false, "embed a quarter of an hour of speech")

// Two people on one line are told from one. The space is trained on every other
// speaker and tried on the rest; clips of two people may hold speakers of both.
func TestSeveralVoices(t *testing.T) {
	if !*full {
		t.Skip("embeds a quarter of an hour of speech: run it with -full")
	}
	raw := engine(t)
	var train []backend.Sample
	var rest []string
	for i, dir := range speakers(t) {
		if i%2 > 0 {
			rest = append(rest, dir)
			continue
		}
		for _, name := range []string{"test1_tel.wav", "test1_codec.wav", "test1_noise.wav"} {
			for _, v := range stretches(t, raw, filepath.Join(dir, name), 2) {
				train = append(train, backend.Sample{Speaker: filepath.Base(dir), Raw: v})
			}
		}
	}
	space, err := backend.TrainSpace(raw.Model(), train, 0.3)
	if err != nil {
		t.Fatal(err)
	}
	e, err := space.Over(raw)
	if err != nil {
		t.Fatal(err)
	}
	unlike := func(heard []voiceprint.Embedding) float64 {
		v, err := quality.NewVoices(quality.VoicesConfig{Dim: e.Model().Dim})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range heard {
			if err := v.Add(h); err != nil {
				t.Fatal(err)
			}
		}
		return v.Unlike()
	}
	found := map[string][]float64{}
	for _, c := range clips(t) {
		if c.kind != "short-net" {
			found[c.kind] = append(found[c.kind], unlike(stretches(t, e, c.path, 5)))
		}
	}
	var before []voiceprint.Embedding
	for i, dir := range rest {
		if i%2 > 0 {
			continue
		}
		now := stretches(t, e, filepath.Join(dir, "test1_tel.wav"), 7)
		found["one, 14 s"] = append(found["one, 14 s"], unlike(now))
		found["one, 6 s"] = append(found["one, 6 s"], unlike(now[:3]))
		if before != nil {
			found["8 s, then another 6 s"] = append(found["8 s, then another 6 s"], unlike(slices.Concat(before[:4], now[:3])))
			found["12 s, then another 2 s"] = append(found["12 s, then another 2 s"], unlike(slices.Concat(before[:6], now[:1])))
			found["2 s, then another 2 s"] = append(found["2 s, then another 2 s"], unlike(slices.Concat(before[:1], now[:1])))
		}
		before = now
	}
	verify, enrol := quality.DefaultRules().Verification, quality.DefaultRules().Enrolment
	share := map[string][2]float64{}
	for kind, u := range found {
		slices.Sort(u)
		var n [2]int
		for _, v := range u {
			for i, l := range []quality.Limits{verify, enrol} {
				if v > l.Unlike {
					n[i]++
				}
			}
		}
		share[kind] = [2]float64{float64(n[0]) / float64(len(u)), float64(n[1]) / float64(len(u))}
		t.Logf("%-24s unlike %.3f %.3f %.3f, turned down %2d and at enrolment %2d of %2d", kind, u[0], u[len(u)/2], u[len(u)-1], n[0], n[1], len(u))
	}
	for _, c := range []struct {
		kind        string
		use         int
		least, most float64
	}{
		{"two-speakers", 0, 0.8, 1},
		{"two-speakers", 1, 0.8, 1},
		{"clean", 0, 0, 0},
		{"clean", 1, 0, 0},
		{"clipped", 0, 0, 0},
		{"one, 14 s", 0, 0, 0.1},
		{"one, 6 s", 0, 0, 0.1},
		{"8 s, then another 6 s", 0, 0.9, 1},
		{"12 s, then another 2 s", 0, 0.9, 1},
	} {
		if got := share[c.kind][c.use]; math.IsNaN(got) || got < c.least || got > c.most {
			t.Errorf("use %d, %s: %.2f are turned down, want %v to %v", c.use, c.kind, got, c.least, c.most)
		}
	}
}

type clip struct{ kind, path string }

func clips(t *testing.T) []clip {
	t.Helper()
	f, err := os.Open(needs.Eval(t, "voice", "quality.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma = '\t'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []clip
	for _, row := range rows[1:] {
		out = append(out, clip{row[1], needs.Eval(t, "voice", "quality", row[0]+".wav")})
	}
	return out
}
