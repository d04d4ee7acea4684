package openai

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/bench/wer"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

// realServer starts an OpenAI-compatible server with faster-whisper and
// Whisper tiny.en behind it, where the Python that SIDETONE_WHISPER_PYTHON names
// has the package. It returns its URL and a function that asks faster-whisper
// itself what files say.
func realServer(t *testing.T) (url string, itself func(files ...string) []string) {
	t.Helper()
	python := os.Getenv("SIDETONE_WHISPER_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import faster_whisper").Run(); err != nil {
		t.Skipf("needs a Python (set SIDETONE_WHISPER_PYTHON) with the package faster-whisper: %v", err)
	}
	script := []string{filepath.Join("testdata", "server.py"), filepath.Dir(needs.Model(t, "whisper-tiny.en", "model.bin"))}
	cmd := exec.Command(python, script...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server names no port: %v", err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port) + "/v1", func(files ...string) []string {
		b, err := exec.Command(python, append(script, files...)...).Output()
		if err != nil {
			t.Fatalf("faster-whisper: %v", err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

// What comes through the protocol is what faster-whisper itself hears, with
// words where they were spoken, with and without partials on the way.
func TestRealServer(t *testing.T) {
	url, itself := realServer(t)
	b, err := os.ReadFile(needs.Eval(t, "asr", "other", "manifest.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var files, refs []string
	var clips [][]int16
	for _, line := range strings.Split(string(b), "\n")[1:] {
		row := strings.Split(line, "\t")
		if len(row) < 3 || len(files) == 6 {
			continue
		}
		b, err := os.ReadFile(needs.Eval(t, "asr", "other", row[0]))
		if err != nil {
			t.Fatal(err)
		}
		a, err := wav.Decode(bytes.NewReader(b))
		if err != nil || a.Rate != pcm.Rate {
			t.Fatal(row[0], a.Rate, err)
		}
		x := a.Channels[0]
		if len(x) < 2*pcm.Rate {
			continue
		}
		// Whole frames, so that the server hears what the file has.
		x = x[:len(x)/pcm.FrameSamples*pcm.FrameSamples]
		var cut bytes.Buffer
		if err := wav.Encode(&cut, &wav.Audio{Rate: pcm.Rate, Channels: [][]int16{x}}, wav.PCM16); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), filepath.Base(row[0]))
		if err := os.WriteFile(file, cut.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		files, clips, refs = append(files, file), append(clips, x), append(refs, row[2])
	}
	want := itself(files...)
	n := wer.New()
	for _, c := range []Config{{}, {PartialEvery: time.Second}, {Format: Plain}} {
		c.URL, c.Timeout = url, 5*time.Minute
		e := open(t, c)
		var all wer.Counts
		hypotheses := 0
		for i, x := range clips {
			s, err := e.NewStream(t.Context(), asr.StreamConfig{Call: "c", Leg: "a", Language: "en"})
			if err != nil {
				t.Fatal(err)
			}
			l := &played{t: t, s: s}
			edges := []asr.Edge{{Kind: asr.Begin}}
			for ; len(x) > 0; x = x[pcm.FrameSamples:] {
				f := pcm.Frame{Start: l.at}
				copy(f.Samples[:], x)
				l.at = f.End()
				hs, err := s.Accept(&f, edges)
				if err := errors.Join(l.Take(hs), err); err != nil {
					t.Fatal(err)
				}
				edges = nil
				if c.PartialEvery > 0 {
					time.Sleep(pcm.FrameDuration)
				}
			}
			if err := errors.Join(l.finish(), s.Close()); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(l.Texts(), " ")
			all.Add(n.Score(refs[i], got))
			hypotheses += len(l.All)
			t.Logf("%s: %s", filepath.Base(files[i]), got)
			// Words that partials had made stable stay as they were.
			if c.PartialEvery == 0 && got != strings.Join(strings.Fields(want[i]), " ") {
				t.Errorf("%s through the server: %q, by itself: %q", filepath.Base(files[i]), got, want[i])
			}
			ws := l.Finals[0].Words
			for _, w := range ws {
				if w.End-w.Start > 3*pcm.Rate {
					t.Errorf("%q lasts %v", w.Text, pcm.Duration(w.End-w.Start))
				}
			}
		}
		if c.PartialEvery > 0 && hypotheses <= len(clips) {
			t.Errorf("%d hypotheses of %d clips: no partials", hypotheses, len(clips))
		}
		t.Logf("partials every %v, %s: WER %.1f %%, %d hypotheses", c.PartialEvery, e.r.c.Format, all.Percent(), hypotheses)
	}
}
