package fingerprint

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFingerprintTable prints how often what is said again is found, by what it went
// through and how long it is, and how alike different recordings get, over pairs
// of the evaluation data. It takes minutes and is run by
//
//	SIDETONE_FINGERPRINT_DIR=folder go test -run TestFingerprintTable -v
//
// The folder has SPEAKER_CODEC.wav (8 kHz): that speaker's voice/wav enrol_tel from
// 0.337 s on through another handset (250 Hz high-pass, +4 dB at 1.2 kHz, -4 dB at
// 2.5 kHz, 6 dB quieter) and a codec, made with libgsm, opencore-amrnb, bcg729 and
// libspeex.
func TestFingerprintTable(t *testing.T) {
	dir := os.Getenv("SIDETONE_FINGERPRINT_DIR")
	if dir == "" {
		t.Skip("SIDETONE_FINGERPRINT_DIR names no folder of copies")
	}
	list := speakers(t)
	enrolled, tel := map[string]Print{}, map[string]Print{}
	for _, s := range list {
		enrolled[filepath.Base(s)] = printOf(t, read(t, filepath.Join(s, "enrol_tel.wav")))
		tel[filepath.Base(s)] = printOf(t, read(t, filepath.Join(s, "test1_tel.wav")))
	}
	found, of := map[string]map[int]int{}, map[string]map[int]int{}
	try := func(what string, original, copied Print) {
		if found[what] == nil {
			found[what], of[what] = map[int]int{}, map[int]int{}
		}
		for _, seconds := range []int{3, 5, 10} {
			n := seconds * int(time.Second/Step)
			for from := 50; from+n <= len(copied); from += n {
				of[what][seconds]++
				if _, ok := Match(original, copied[from:from+n]); ok {
					found[what][seconds]++
				}
			}
		}
	}
	for _, s := range list {
		name := filepath.Base(s)
		for _, c := range []string{"codec", "noise"} {
			try(c, tel[name], printOf(t, read(t, filepath.Join(s, "test1_"+c+".wav"))))
		}
	}
	copies, err := filepath.Glob(filepath.Join(dir, "*_*.wav"))
	if err != nil || len(copies) == 0 {
		t.Fatalf("no copies in %s: %v", dir, err)
	}
	for _, p := range copies {
		name, codec, _ := strings.Cut(strings.TrimSuffix(filepath.Base(p), ".wav"), "_")
		x := read(t, p)
		try(codec, enrolled[name], printOf(t, x))
		if codec == "ulaw" {
			try("ulaw, 5 % lost", enrolled[name], printOf(t, lossy(x, 20)))
			try("ulaw, noise 10 dB", enrolled[name], printOf(t, noisy(x, 10)))
			try("ulaw, 20 dB down", enrolled[name], printOf(t, quieter(x, 20)))
		}
	}
	for what := range of {
		fmt.Printf("%-20s", what)
		for _, s := range []int{3, 5, 10} {
			fmt.Printf("  %d s: %d of %d", s, found[what][s], of[what][s])
		}
		fmt.Println()
	}
	var same, others []float64
	for i, a := range list {
		same = append(same, lowest(enrolled[filepath.Base(a)], tel[filepath.Base(a)]))
		// A third of the pairs is enough.
		for j := i + 1; j < len(list); j += 3 {
			b := list[j]
			others = append(others, lowest(enrolled[filepath.Base(a)], enrolled[filepath.Base(b)]),
				lowest(enrolled[filepath.Base(a)], tel[filepath.Base(b)]), lowest(tel[filepath.Base(a)], enrolled[filepath.Base(b)]))
		}
	}
	for _, g := range []struct {
		name string
		x    []float64
	}{{"the same speaker, other words", same}, {"other speakers", others}} {
		slices.Sort(g.x)
		n := len(g.x)
		fmt.Printf("%s: %d pairs, the best 2 s differ in %.3f at least, %.3f for one of a hundred, %.3f in the middle\n", g.name, n, g.x[0], g.x[n/100], g.x[n/2])
		if g.x[0] <= MaxErrors {
			t.Errorf("a false alarm: %.3f", g.x[0])
		}
	}
}
