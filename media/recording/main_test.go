package recording

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/seal"
	"sidetone/media"
)

// childVar names what a child process is to do instead of the tests.
const childVar = "SIDETONE_RECORDING_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childVar); what != "" {
		child(what)
		return
	}
	leaktest.Main(m)
}

const key = "20260304-050607-abcdefgh"

func open(t testing.TB, dir string, format Format, rate int) *Store {
	t.Helper()
	keys, err := seal.Open(seal.Config{Dir: filepath.Join(dir, "keys"), Kind: seal.X25519})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Dir: filepath.Join(dir, "recordings"), Format: format, Rate: rate, Keys: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// manual is a recorder whose work the test does itself, a frame at a time.
type manual struct {
	*Recorder
	t testing.TB
	// now is over: what is not in the queue is not waited for.
	now context.Context
	it  item
}

func begin(t testing.TB, s *Store) *manual {
	t.Helper()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	m := &manual{Recorder: newRecorder(s, key), t: t, now: now}
	m.open()
	return m
}

// pump takes in all that waits.
func (m *manual) pump() {
	for m.queue.Pop(m.now, &m.it) {
		m.accept(&m.it)
	}
}

func (m *manual) end(roles map[string]string) Kept {
	m.t.Helper()
	m.pump()
	m.roles = roles
	m.finish()
	if m.err != nil {
		m.t.Fatal(m.err)
	}
	return m.kept
}

// speech is a signal that sounds and packs somewhat like speech: noise of
// changing loudness through a resonance.
func speech(seed uint64, n int) []int16 {
	r := rand.New(rand.NewPCG(seed, 7))
	out := make([]int16, n)
	var a, b, loud float64
	for i := range out {
		if i%1600 == 0 {
			loud = 3000 * r.Float64() * float64(r.IntN(3)) / 2
		}
		v := loud*(r.Float64()-.5) + 1.6*a - .8*b
		a, b = v, a
		out[i] = int16(max(-32768, min(32767, v)))
	}
	return out
}

// frames cuts samples into frames and gives each to the leg, pumping as it goes.
func (m *manual) frames(l *Leg, from int64, samples []int16) {
	var f pcm.Frame
	for i := 0; i+pcm.FrameSamples <= len(samples); i += pcm.FrameSamples {
		f.Start = from + int64(i)
		copy(f.Samples[:], samples[i:])
		l.Frame(&f)
		m.pump()
	}
}

// both gives two legs their frames in turn.
func (m *manual) both(a, b *Leg, from int64, x, y []int16) { m.each(a, b, from, from, x, y) }

// each is both for legs whose clocks stand differently.
func (m *manual) each(a, b *Leg, fromA, fromB int64, x, y []int16) {
	for i := 0; i+pcm.FrameSamples <= len(x); i += pcm.FrameSamples {
		m.frames(a, fromA+int64(i), x[i:i+pcm.FrameSamples])
		m.frames(b, fromB+int64(i), y[i:i+pcm.FrameSamples])
	}
}

// play is the content of a finished recording.
func play(t testing.TB, s *Store) []byte {
	t.Helper()
	p, err := s.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b, err := io.ReadAll(p)
	if err != nil || int64(len(b)) != p.Size {
		t.Fatalf("%d bytes of %d: %v", len(b), p.Size, err)
	}
	return b
}

// heard is what Audio makes of the recording.
func heard(t testing.TB, s *Store) [2][]int16 {
	t.Helper()
	p, err := s.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, err := p.Audio(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err = p.Audio(time.Millisecond); !errors.Is(err, ErrTooLong) {
		t.Errorf("a recording that is too long: %v", err)
	}
	return [2][]int16{a.Channels[left], a.Channels[right]}
}

// decoded is what ffmpeg makes of a file, each side by itself.
func decoded(t testing.TB, file []byte) [2][]int16 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	// -err_detect explode and -xerror make damage an error.
	cmd := exec.CommandContext(t.Context(), needs.Program(t, "ffmpeg"), "-v", "error", "-err_detect", "crccheck+explode", "-xerror", "-i", path, "-f", "s16le", "-c:a", "pcm_s16le", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	raw, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("ffmpeg: %v: %s", err, said.String())
	}
	var out [2][]int16
	for i := 0; i+4 <= len(raw); i += 4 {
		out[left] = append(out[left], int16(binary.LittleEndian.Uint16(raw[i:])))
		out[right] = append(out[right], int16(binary.LittleEndian.Uint16(raw[i+2:])))
	}
	return out
}

func same(t testing.TB, what string, got, want []int16) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d samples, want %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: sample %d is %d, want %d", what, i, got[i], want[i])
			return
		}
	}
}

// child is what a test starts as a process of its own: kill records until it is
// killed, full until the disk is full; both say on standard output how far they are.
func child(what string) {
	dir := os.Getenv(childVar + "_DIR")
	if err := children(what, dir); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func children(what, dir string) error {
	keys, err := seal.Open(seal.Config{Dir: filepath.Join(dir, "keys"), Kind: seal.X25519})
	if err != nil {
		return err
	}
	s, err := New(Config{Dir: filepath.Join(dir, "recordings"), Keys: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if strings.HasPrefix(what, "full") {
		limitFiles(60_000)
	}
	r, err := s.Begin(key)
	if err != nil {
		return err
	}
	a, b := r.AddLeg("a"), r.AddLeg("c")
	a.Place(0, media.RoleAgent)
	b.Place(0, media.RoleCustomer)
	x, y := speech(1, childSamples), speech(2, childSamples)
	var f pcm.Frame
	for i := 0; i < childSamples; i += pcm.FrameSamples {
		f.Start = int64(i)
		copy(f.Samples[:], x[i:])
		a.Frame(&f)
		copy(f.Samples[:], y[i:])
		b.Frame(&f)
		for r.queue.Len() > 100 {
			time.Sleep(time.Millisecond)
		}
		if what == "kill" && i%16000 == 0 {
			for r.queue.Len() > 0 {
				time.Sleep(time.Millisecond)
			}
			fmt.Println(i)
			time.Sleep(10 * time.Millisecond)
		}
	}
	kept, err := r.Close(nil)
	fmt.Printf("kept %d ms, %d ms lost, %d errors, problem %q, %v\n", kept.Duration.Milliseconds(), kept.Lost.Milliseconds(), s.Stats().Errors.Load(), kept.Problem, err)
	return nil
}

const childSamples = 60 * pcm.Rate
