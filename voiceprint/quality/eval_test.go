package quality

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/bench/nonspeech"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/voiceprint"
)

// active gives a meter what an energy gate takes for speech: frames within 32 dB of
// the loudest ones.
func active(m *Meter, x []int16) {
	var levels []float64
	for at := 0; at+pcm.FrameSamples <= len(x); at += pcm.FrameSamples {
		sum := 1.0
		for _, s := range x[at : at+pcm.FrameSamples] {
			sum += float64(s) * float64(s)
		}
		levels = append(levels, decibels(sum))
	}
	gate := slices.Sorted(slices.Values(levels))[len(levels)*99/100] - 32
	f := pcm.Frame{Start: m.next}
	for i, l := range levels {
		copy(f.Samples[:], x[i*pcm.FrameSamples:])
		m.Add(&f, l > gate)
		f.Start += pcm.FrameSamples
	}
}

// tally counts files by kind and reason.
type tally struct {
	files   int
	reasons map[voiceprint.Reason]int
	flagged int
	values  []voiceprint.Quality
}

func (s *tally) add(l Limits, q voiceprint.Quality) {
	if s.reasons == nil {
		s.reasons = map[voiceprint.Reason]int{}
	}
	s.files++
	s.values = append(s.values, q)
	r := l.Reasons(q)
	for _, r := range r {
		s.reasons[r]++
	}
	if len(r) > 0 {
		s.flagged++
	}
}

func (s *tally) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%4d of %4d", s.flagged, s.files)
	for _, r := range []voiceprint.Reason{
		voiceprint.TooLittle, voiceprint.Noise, voiceprint.Clipping, voiceprint.Quiet,
		voiceprint.Narrow, voiceprint.Reverberant, voiceprint.Music,
	} {
		fmt.Fprintf(&out, " %5d", s.reasons[r])
	}
	for _, f := range []func(voiceprint.Quality) float64{
		func(q voiceprint.Quality) float64 { return q.SNR },
		func(q voiceprint.Quality) float64 { return q.Level },
		func(q voiceprint.Quality) float64 { return 100 * q.Clipped },
		func(q voiceprint.Quality) float64 { return q.Edge },
		func(q voiceprint.Quality) float64 { return q.Reverberation },
		func(q voiceprint.Quality) float64 { return q.Music },
	} {
		var v []float64
		for _, q := range s.values {
			if x := f(q); !math.IsNaN(x) {
				v = append(v, x)
			}
		}
		if len(v) == 0 {
			out.WriteString("  |     -")
			continue
		}
		slices.Sort(v)
		fmt.Fprintf(&out, "  | %.4g %.4g %.4g", v[0], v[len(v)/2], v[len(v)-1])
	}
	return out.String()
}

const heading = "             flagged of files   net noise  clip quiet band reverb music | least, median and most of SNR, level, clipped %, edge, reverberation, music"

// kinds are the quality clips by kind.
func kinds(t *testing.T) map[string][]string {
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
	out := map[string][]string{}
	for _, row := range rows[1:] {
		out[row[1]] = append(out[row[1]], needs.Eval(t, "voice", "quality", row[0]+".wav"))
	}
	return out
}

// Every gate finds what it is for and leaves alone what is in order. Voices that
// change are not measured here: that takes embeddings.
func TestGates(t *testing.T) {
	verify, enrol := DefaultRules().Verification, DefaultRules().Enrolment
	// The clips are shorter than an enrolment.
	enrol.Net = 0
	found := map[string]*[2]tally{}
	add := func(kind string, m *Meter) {
		if found[kind] == nil {
			found[kind] = new([2]tally)
		}
		q := m.Quality()
		found[kind][0].add(verify, q)
		found[kind][1].add(enrol, q)
	}
	for kind, paths := range kinds(t) {
		for _, p := range paths {
			m := newMeter(t)
			if kind == "short-net" {
				active(m, read(t, p))
				if net := m.Quality().Net; net < 1200*time.Millisecond || net > 3*time.Second {
					t.Errorf("%s: net speech of 2.25 s is measured as %v", filepath.Base(p), net)
				}
			} else {
				hear(m, read(t, p))
			}
			add(kind, m)
		}
	}
	for _, name := range []string{"enrol_tel", "test1_tel", "test1_codec", "test1_noise"} {
		for i, p := range files(t, "wav", "*", name+".wav") {
			if testing.Short() && i%8 > 0 {
				continue
			}
			x := read(t, p)
			whole, brief := newMeter(t), newMeter(t)
			hear(whole, x)
			add(name, whole)
			hear(brief, x[5*pcm.Rate:8*pcm.Rate])
			add(name+" 3 s", brief)
		}
	}
	for i, use := range []string{"verification", "enrolment (but for net speech)"} {
		t.Log(use + "\n" + heading)
		for _, kind := range sortedKeys(found) {
			t.Logf("%-17s %v", kind, &found[kind][i])
		}
	}
	for _, c := range []struct {
		kind   string
		use    int
		reason voiceprint.Reason
		// least and most are shares of files.
		least, most float64
	}{
		{"clipped", 0, voiceprint.Clipping, 1, 1},
		{"snr0", 0, voiceprint.Noise, 1, 1},
		{"snr5", 1, voiceprint.Noise, 1, 1},
		{"clean", 0, "", 0, 0},
		{"clean", 1, "", 0, 0},
		{"two-speakers", 0, "", 0, 0},
		{"short-net", 0, voiceprint.TooLittle, 0.6, 1},
		{"enrol_tel", 0, "", 0, 0},
		{"test1_tel", 0, "", 0, 0},
		{"test1_codec", 0, "", 0, 0},
		{"test1_noise", 0, "", 0, 0},
		{"enrol_tel", 1, "", 0, 0.03},
		{"test1_tel", 1, "", 0, 0.03},
		{"test1_codec", 1, "", 0, 0.03},
		{"test1_noise", 1, "", 0, 0.1},
		{"test1_tel 3 s", 0, "", 0, 0.03},
		{"test1_codec 3 s", 0, "", 0, 0.03},
		{"test1_noise 3 s", 0, "", 0, 0.03},
	} {
		s := &found[c.kind][c.use]
		n := s.flagged
		if c.reason != "" {
			n = s.reasons[c.reason]
		}
		if got := float64(n) / float64(s.files); got < c.least || got > c.most {
			t.Errorf("use %d, %s: %d of %d files are turned down (%q), want %v to %v", c.use, c.kind, n, s.files, c.reason, c.least, c.most)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Music is found in what telephones play, and nothing else there is taken for it.
func TestMusicOnTheLine(t *testing.T) {
	const length, part = 24 * time.Second, 8 * pcm.Rate
	for _, k := range nonspeech.Kinds() {
		var p []float64
		dropped, all, turned := 0, 0, 0
		seeds := uint64(2)
		if k.Name == "music" {
			seeds = 12
		}
		// Others than those that it was fitted to.
		for seed := uint64(101); seed < 101+seeds; seed++ {
			x := double(k.Samples(seed, length))
			for ; len(x) >= part; x = x[part:] {
				m := newMeter(t)
				hear(m, x[:part])
				q := m.Quality()
				if !math.IsNaN(q.Music) {
					p = append(p, q.Music)
				}
				if slices.Contains(DefaultRules().Verification.Reasons(q), voiceprint.Music) {
					turned++
				}
				all += part / pcm.FrameSamples
				dropped += part/pcm.FrameSamples - int(m.frames)
			}
		}
		slices.Sort(p)
		if len(p) == 0 {
			p = []float64{0}
		}
		t.Logf("%-20s music %.3f %.3f %.3f, turned down %d of %d, tones %2d %% of the time", k.Name, p[0], p[len(p)/2], p[len(p)-1], turned, len(p), 100*dropped/all)
		switch {
		case k.Name == "music" && 4*turned < 3*len(p):
			t.Errorf("of %d stretches of music %d are turned down", len(p), turned)
		case k.Name == "digits" && 100*dropped < 25*all:
			t.Errorf("of digits %d of %d frames are taken for tones", dropped, all)
		case strings.Contains(k.Name, "noise") && p[len(p)-1] > 0.3:
			t.Errorf("%s is taken for music with %.3f", k.Name, p[len(p)-1])
		}
	}
}

// some are every nth clean files of the evaluation, 6 s of each, at 8 kHz.
func some(t *testing.T, n int) [][]float64 {
	t.Helper()
	var out [][]float64
	for i, p := range files(t, "wav", "*", "test1_tel.wav") {
		if i%n > 0 {
			continue
		}
		// The doubled samples in between are those of the file.
		x, y := read(t, p), []float64(nil)
		for i := 0; i < min(len(x), 6*pcm.Rate); i += 2 {
			y = append(y, float64(x[i]))
		}
		out = append(out, y)
	}
	return out
}

func hearDoubled(t *testing.T, x []float64) voiceprint.Quality {
	y := make([]int16, len(x))
	for i, v := range x {
		y[i] = clip16(v)
	}
	m := newMeter(t)
	hear(m, double(y))
	return m.Quality()
}

// Rooms are simulated: noise that fades exponentially (Polack's model) with the power
// of the direct sound.
func TestRooms(t *testing.T) {
	clean := some(t, 16)
	for _, room := range []float64{0, 0.3, 0.6, 1.2} {
		var got []float64
		turned := 0
		for i, x := range clean {
			s := newSource(uint64(i))
			h := make([]float64, 1+int(0.7*room*8000))
			sum := 0.0
			for k := range h {
				if k >= 16 {
					h[k] = s.NormFloat64() * math.Exp(-6.9*float64(k)/8000/room)
					sum += h[k] * h[k]
				}
			}
			for k := range h {
				h[k] /= math.Sqrt(max(sum, 1e-9))
			}
			h[0] = 1
			y := make([]float64, len(x))
			for at, v := range x {
				for k, w := range h[:min(len(h), len(x)-at)] {
					y[at+k] += 0.5 * v * w
				}
			}
			q := hearDoubled(t, y)
			if slices.Contains(DefaultRules().Verification.Reasons(q), voiceprint.Reverberant) {
				turned++
			}
			if !math.IsNaN(q.Reverberation) {
				got = append(got, q.Reverberation)
			}
		}
		slices.Sort(got)
		if len(got) == 0 {
			t.Fatalf("of %d files in a room of %v s none was measured", len(clean), room)
		}
		median := got[len(got)/2]
		t.Logf("%.1f s: measured in %d of %d, %.2f %.2f %.2f s, too reverberant %d", room, len(got), len(clean), got[0], median, got[len(got)-1], turned)
		if room == 0 && (median > 0.25 || turned > 0) || room > 0 && (median < room/2 || median > 2*room) {
			t.Errorf("a room of %v s is measured as %v s", room, median)
		}
	}
}

// What is cut, turned down and filtered is found from about two percent on.
func TestClippedCalls(t *testing.T) {
	clean := some(t, 4)
	for _, share := range []float64{0, 0.003, 0.01, 0.02, 0.05, 0.15} {
		var got []float64
		turned := 0
		for _, x := range clean {
			abs := make([]float64, len(x))
			for i, v := range x {
				abs[i] = math.Abs(v)
			}
			slices.Sort(abs)
			limit := abs[min(len(abs)-1, int(float64(len(abs))*(1-share)))]
			y := make([]float64, len(x))
			for i, v := range x {
				y[i] = 0.4 * max(-limit, min(limit, v))
			}
			q := hearDoubled(t, y)
			got = append(got, q.Clipped)
			if slices.Contains(DefaultRules().Verification.Reasons(q), voiceprint.Clipping) {
				turned++
			}
		}
		slices.Sort(got)
		t.Logf("%4.1f %%: measured %.2f %.2f %.2f %%, turned down %d of %d", 100*share, 100*got[0], 100*got[len(got)/2], 100*got[len(got)-1], turned, len(clean))
		if share <= 0.003 && turned > 0 || share >= 0.05 && turned < len(clean) {
			t.Errorf("of %d files with %v cut %d are turned down", len(clean), share, turned)
		}
	}
}

// A line that passes only what is low is turned down.
func TestDullLines(t *testing.T) {
	for _, hz := range []float64{1500, 2000, 3000, 3400} {
		var got []float64
		for _, x := range some(t, 16) {
			const taps = 64
			y := make([]float64, len(x))
			for k := -taps; k <= taps; k++ {
				a := 2 * math.Pi * hz / 8000 * float64(k)
				w := 2 * hz / 8000 * (0.54 + 0.46*math.Cos(math.Pi*float64(k)/taps))
				if k != 0 {
					w *= math.Sin(a) / a
				}
				for i := max(0, k); i < min(len(x), len(x)+k); i++ {
					y[i] += w * x[i-k]
				}
			}
			got = append(got, hearDoubled(t, y).Edge)
		}
		slices.Sort(got)
		t.Logf("%v Hz: %v %v %v", hz, got[0], got[len(got)/2], got[len(got)-1])
		if math.Abs(got[len(got)/2]-hz) > 500 {
			t.Errorf("a line up to %v Hz is measured up to %v", hz, got[len(got)/2])
		}
	}
}
