package benchpeer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/wav"
)

// child is this test program as an engine.
func child(t *testing.T, name string) Engine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Engine{Name: name, Args: []string{self}}
}

// clips are n clips of about the given lengths in samples.
func clips(t *testing.T, samples ...int) []benchasr.Clip {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "asr", "set", "wav16")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	table := "path\tref_raw\n"
	for i, n := range samples {
		var b bytes.Buffer
		if err := wav.Encode(&b, &wav.Audio{Rate: 16000, Channels: [][]int16{make([]int16, n)}}, wav.PCM16); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d.wav", i)
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		table += "wav16/" + name + "\tsaid\n"
	}
	if err := os.WriteFile(filepath.Join(root, "asr", "set", "manifest.tsv"), []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	cs, err := benchasr.Selection{Root: root, Sets: []string{"set"}, Conditions: []string{"wav16"}}.Clips()
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

func TestCompare(t *testing.T) {
	t.Setenv("SIDETONE_TEST_PEER", "yes")
	a, b := child(t, "a"), child(t, "b")
	b.Streams = true
	var told []int
	us, err := Compare(t.Context(), []Engine{a, b}, clips(t, 160, 320, 31*16000), []int{-1, -1}, func(n int) { told = append(told, n) })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range us {
		got = append(got, u.Engine+u.Clip+"="+u.Hyp)
	}
	const want = "a0.wav=160 a1.wav=320 b0.wav=160 b1.wav=320 b2.wav=496000"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if len(told) != 3 || told[2] != 3 {
		t.Errorf("told %v", told)
	}
	if u := us[1]; u.Ref != "said" || u.Set != "set" || u.Condition != "wav16" || u.Seconds != 0.02 {
		t.Errorf("%+v", u)
	}
}

func TestStartErrors(t *testing.T) {
	t.Setenv("SIDETONE_TEST_PEER", "broken")
	e := child(t, "mute")
	if _, err := Compare(t.Context(), []Engine{e}, clips(t, 160), []int{-1}, func(int) {}); err == nil ||
		!strings.Contains(err.Error(), "mute: it did not start") || !strings.Contains(err.Error(), "no weights") {
		t.Errorf("error %v", err)
	}
	e.Args = []string{filepath.Join(t.TempDir(), "none")}
	if _, err := Start(t.Context(), e, -1); err == nil || !strings.Contains(err.Error(), "mute") {
		t.Errorf("no such program: %v", err)
	}
}

func TestLatency(t *testing.T) {
	t.Setenv("SIDETONE_TEST_PEER", "yes")
	engines := []Engine{child(t, "ours"), child(t, "peer")}
	engines[0].Ours = true
	children, end, err := StartAll(t.Context(), engines, -1)
	if err != nil {
		t.Fatal(err)
	}
	tasks := []Task{{Seconds: 2, Clips: [][]int16{make([]int16, 32000), make([]int16, 30000)}}, {Seconds: 2, Fitted: true, Clips: [][]int16{make([]int16, 32000)}}}
	n := 0
	rows, err := Latency(t.Context(), engines, children, tasks, 1, 3, func(int) { n++ })
	if err != nil {
		t.Fatal(err)
	}
	if want := Decodes(engines, tasks, 1, 3); n != want || want != 2*(2+3+1+3) {
		t.Errorf("%d decodes, want %d", n, want)
	}
	if len(rows) != 4 || rows[0].Engine != "ours" || !rows[0].Ours || rows[0].Frames != 1500 || rows[0].Decodes != 3 || rows[0].Tokens != 10 {
		t.Errorf("%+v", rows)
	}
	if rows[2].Frames != 300 || !rows[2].Fitted {
		t.Errorf("fitted: %+v", rows[2])
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if _, err := Latency(t.Context(), engines, children, tasks, 1, 1, func(int) {}); err == nil {
		t.Error("measured engines that have ended")
	}
}

func TestTasks(t *testing.T) {
	const rate = 16000
	var lengths []int
	for range 3 {
		lengths = append(lengths, 2*rate, 2*rate+800, 5*rate-100, 10*rate, 14*rate)
	}
	tasks, err := Tasks(clips(t, lengths...), 2)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range tasks {
		got = append(got, fmt.Sprintf("%d/%v/%d/%d", k.Seconds, k.Fitted, len(k.Clips[0])/rate, k.frames(k.Clips[1])))
	}
	const want = "2/false/2/1500 2/true/2/300 5/false/4/1500 5/true/4/350 10/false/10/1500 10/true/10/600 30/false/"
	if s := strings.Join(got, " "); !strings.HasPrefix(s, want) || len(got) != 7 {
		t.Errorf("got %s", s)
	}
	last := tasks[6].Clips
	if len(last) != 2 || len(last[0]) < 24*rate || len(last[0]) > 30*rate {
		t.Errorf("%d clips of %d s", len(last), len(last[0])/rate)
	}
	for name, ls := range map[string][]int{"only long ones": {14 * rate, 14 * rate}, "too few": {2 * rate, 5 * rate, 10 * rate}} {
		if _, err := Tasks(clips(t, ls...), 2); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAgreed(t *testing.T) {
	ds := func(tokens ...int) (out []bench.Decode) {
		for _, n := range tokens {
			out = append(out, bench.Decode{Tokens: n})
		}
		return out
	}
	if d := disagreement(ds(9, 20, 10)); d != 11 {
		t.Errorf("disagreement %d, want 11", d)
	}
	got := agreed([]trial{{make([]int16, 1), 9, 5}, {make([]int16, 3), 2, 1}, {make([]int16, 2), 7, 0}, {make([]int16, 4), 8, 1}}, 2)
	if len(got) != 2 || len(got[0].x) != 2 || len(got[1].x) != 4 {
		t.Errorf("%v", got)
	}
}
