package recording

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/internal/seal"
	"sidetone/media"
)

// startChild runs this test binary as a process that records.
func startChild(t *testing.T, what, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+what, childVar+"_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// What was recorded more than 2 s before a kill -9 is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	cmd, out := startChild(t, "kill", dir)
	heard := 0
	for heard < 7*pcm.Rate && out.Scan() {
		var err error
		if heard, err = strconv.Atoi(out.Text()); err != nil {
			t.Fatalf("the child says %q", out.Text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	s := open(t, dir, FLAC, 0)
	if _, err := s.Open(key); !errors.Is(err, ErrRunning) {
		t.Errorf("before it is finished: %v", err)
	}
	keys, err := s.Unfinished()
	if err != nil || len(keys) != 1 || keys[0] != key {
		t.Fatalf("unfinished: %v, %v", keys, err)
	}
	kept, err := s.Finish(key, map[string]string{"a": "agent", "c": "customer"})
	if err != nil || !strings.Contains(kept.Problem, "the server was lost") || kept.Left[0].Role != "agent" {
		t.Fatalf("%+v, %v", kept, err)
	}
	if least := pcm.Duration(int64(heard)) - 2*time.Second; kept.Duration < least {
		t.Errorf("%v are there, want %v", kept.Duration, least)
	}
	got := decoded(t, play(t, s))
	n := len(got[left])
	same(t, "left", got[left], speech(1, childSamples)[:n])
	same(t, "right", got[right], speech(2, childSamples)[:n])
	if keys, err = s.Unfinished(); err != nil || len(keys) != 0 {
		t.Errorf("unfinished: %v, %v", keys, err)
	}
	if _, err = s.Finish(key, nil); !errors.Is(err, ErrNone) {
		t.Errorf("finished again: %v", err)
	}
}

// A call that goes on after its server was lost goes on being recorded.
func TestGoingOn(t *testing.T) {
	for _, c := range []struct {
		format Format
		rate   int
	}{{FLAC, 16000}, {WAV, 16000}, {FLAC, 8000}} {
		t.Run(fmt.Sprint(c.format, c.rate), func(t *testing.T) {
			dir := t.TempDir()
			x := speech(9, 10*pcm.Rate)
			m := begin(t, open(t, dir, c.format, c.rate))
			a := m.AddLeg("a")
			a.Place(0, media.RoleAgent)
			m.frames(a, 0, x[:5*pcm.Rate])
			m.tape.close() // the process is gone
			path := m.store.path(key, partSuffix)
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = f.Write([]byte{0, 0, 9, 9, 'a', 'g', 'e'}); err != nil { // half a record
				t.Fatal(err)
			}
			f.Close()
			// What the configuration says now is for other calls.
			s := open(t, dir, WAV, 16000)
			m = begin(t, s)
			held := int(m.mix.done)
			b := m.AddLeg("a-again")
			b.Place(6*time.Second, media.RoleAgent)
			m.frames(b, 0, x[6*pcm.Rate:])
			kept := m.end(nil)
			if kept.Format != c.format || kept.Duration != 10*time.Second || len(kept.Left) != 2 {
				t.Fatalf("%+v", kept)
			}
			got := decoded(t, play(t, s))
			if c.rate != pcm.Rate {
				return // the filter changes samples; TestLowerRate looks at them
			}
			want := append(append([]int16{}, x[:held]...), make([]int16, 6*pcm.Rate-held)...)
			same(t, "left", got[left], append(want, x[6*pcm.Rate:]...))
		})
	}
}

// A log that was cut anywhere, or changed, gives a playable file of what comes
// before.
func TestCutAndChangedLogs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, FLAC, 0)
	m := begin(t, s)
	a := m.AddLeg("a")
	a.Place(0, media.RoleAgent)
	x := speech(11, 5*pcm.Rate)
	m.frames(a, 0, x)
	m.tape.close()
	path := s.path(key, partSuffix)
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int
	for at := 0; at < len(log); {
		at += 4 + int(binary.BigEndian.Uint32(log[at:]))
		ends = append(ends, at)
	}
	if len(ends) != 4 || ends[3] != len(log) {
		t.Fatalf("records end at %v of %d", ends, len(log))
	}
	put := func(b []byte) {
		t.Helper()
		if _, err := s.Erase(key); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name string, whole int) {
		t.Helper()
		kept, err := s.Finish(key, nil)
		if err != nil || kept.Duration != time.Duration(whole)*time.Second {
			t.Errorf("%s: %v, %v", name, kept.Duration, err)
			return
		}
		if whole > 0 {
			same(t, name, decoded(t, play(t, s))[left], x[:whole*pcm.Rate])
		} else if names := files(t, s); len(names) != 0 {
			t.Errorf("%s: files %v", name, names)
		}
	}
	for _, n := range []int{0, 1, 4, 5, 100, ends[0] - 1, ends[0], ends[0] + 1, ends[0] + 3, ends[0] + 4, ends[1] - 1, ends[2], ends[3] - 1, ends[3]} {
		put(log[:n])
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		check(fmt.Sprintf("cut at %d", n), whole)
	}
	changed := append([]byte{}, log...)
	changed[ends[2]-1] ^= 1
	put(changed)
	check("changed", 2)
	// Without its key nothing is thrown away.
	put(log)
	keys, err := s.cfg.Keys.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if err = os.Rename(keys[0].Path, keys[0].Path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Finish(key, nil); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("without the key: %v", err)
	}
	if err = os.Rename(keys[0].Path+".away", keys[0].Path); err != nil {
		t.Fatal(err)
	}
	check("with the key again", 4)
}

// A disk on which no more fits ends the recording, which says so; the call feeds
// it to its end.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no limit here")
	}
	dir := t.TempDir()
	cmd, out := startChild(t, "full", dir)
	var said []string
	for out.Scan() {
		said = append(said, out.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v", err, said)
	}
	if len(said) != 1 || !strings.Contains(said[0], "file too large") || strings.Contains(said[0], "kept 0 ms") {
		t.Errorf("the child says %q", said)
	}
	s := open(t, dir, FLAC, 0)
	// The finished file did not fit either; now there is room.
	if _, err := s.Open(key); err != nil {
		if _, err = s.Finish(key, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := decoded(t, play(t, s))
	if n := len(got[left]); n < pcm.Rate || n > 10*pcm.Rate {
		t.Errorf("%d samples are there", n)
	}
	same(t, "left", got[left], speech(1, childSamples)[:len(got[left])])
	t.Log(said)
}

// A disk that refuses for a while costs nothing.
func TestDiskThatComesBack(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	a := m.AddLeg("a")
	a.Place(0, media.RoleAgent)
	x := speech(12, 30*pcm.Rate)
	m.frames(a, 0, x[:5*pcm.Rate])
	whole := m.tape.file
	readOnly, err := os.Open(whole.Name())
	if err != nil {
		t.Fatal(err)
	}
	m.tape.file = readOnly
	m.frames(a, 5*pcm.Rate, x[5*pcm.Rate:15*pcm.Rate])
	if n := s.Stats().Errors.Load(); n != 10 {
		t.Errorf("%d writes failed, want 10", n)
	}
	readOnly.Close()
	m.tape.file = whole
	m.frames(a, 15*pcm.Rate, x[15*pcm.Rate:])
	m.err = nil
	if kept := m.end(nil); kept.Problem != "" || kept.Lost != 0 {
		t.Errorf("%+v", kept)
	}
	same(t, "left", decoded(t, play(t, s))[left], x)
}

func TestFiftyCalls(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	x, y := speech(1, 10*pcm.Rate), speech(2, 10*pcm.Rate)
	const calls = 50
	var all sync.WaitGroup
	for n := range calls {
		all.Go(func() {
			r, err := s.Begin(fmt.Sprintf("20260304-050607-call%04d", n))
			if err != nil {
				t.Error(err)
				return
			}
			var legs sync.WaitGroup
			for leg, samples := range [][]int16{x, y} {
				l := r.AddLeg(string(rune('a' + leg)))
				legs.Go(func() {
					l.Place(0, media.Role(leg+1))
					var f pcm.Frame
					for i := 0; i < len(samples); i += pcm.FrameSamples {
						f.Start = int64(i)
						copy(f.Samples[:], samples[i:])
						l.Frame(&f)
						for i%1600 == 0 && r.queue.Len() > 10 {
							time.Sleep(time.Millisecond)
						}
					}
					l.End()
				})
			}
			legs.Wait()
			kept, err := r.Close(nil)
			// Legs that run at no pace may be too far apart to be mixed, which counts.
			if err != nil || kept.Duration != 10*time.Second || s.Stats().Dropped.Load() == 0 && kept.Problem != "" {
				t.Errorf("call %d: %+v, %v", n, kept, err)
			}
		})
	}
	all.Wait()
	if n := s.Stats().Kept.Load(); n != calls || s.Stats().Running.Load() != 0 {
		t.Errorf("%d kept, %d running", n, s.Stats().Running.Load())
	}
	if n := len(files(t, s)); n != calls {
		t.Errorf("%d files", n)
	}
}

// The media path is never kept waiting: a recorder whose goroutine stands still
// loses its own frames, which shows.
func TestFrameNeverWaits(t *testing.T) {
	m := begin(t, open(t, t.TempDir(), FLAC, 0))
	l := m.AddLeg("a")
	l.Place(0, media.RoleAgent)
	f := pcm.Frame{Samples: [pcm.FrameSamples]int16{1}}
	if n := testing.AllocsPerRun(1000, func() {
		l.Frame(&f)
		f.Start += pcm.FrameSamples
	}); n != 0 {
		t.Errorf("%v allocations for a frame", n)
	}
	kept := m.end(nil)
	// AllocsPerRun runs once more than it is told.
	if want := time.Duration(1001-queued) * pcm.FrameDuration; kept.Lost != want || kept.Problem == "" || kept.Duration != 1001*pcm.FrameDuration {
		t.Errorf("%+v, want %v lost", kept, want)
	}
}

func FuzzParse(f *testing.F) {
	about, err := json.Marshal(&head{Version: 1, Format: FLAC, Rate: 16000, Blocks: []int{2, 1}, Samples: 8000, Left: []string{"a"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(append([]byte{0, byte(len(about))}, about...), 1, 2, 3))
	f.Add([]byte{0, 2, '{', '}'})
	f.Add([]byte{255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, blocks, err := parse(b)
		if err != nil {
			return
		}
		sum := 0
		for _, n := range h.Blocks {
			sum += n
		}
		if sum != len(blocks) || h.Samples > int64(len(h.Blocks)*block) {
			t.Errorf("%+v for %d bytes", h, len(blocks))
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	m := begin(b, open(b, b.TempDir(), FLAC, 0))
	l := m.AddLeg("a")
	l.Place(0, media.RoleAgent)
	var f pcm.Frame
	b.ReportAllocs()
	for range b.N {
		l.Frame(&f)
	}
}

// BenchmarkCall is what a second of a call with two legs costs, all in all.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		format Format
		rate   int
	}{{FLAC, 16000}, {FLAC, 8000}, {WAV, 16000}} {
		b.Run(fmt.Sprint(c.format, c.rate), func(b *testing.B) {
			m := begin(b, open(b, b.TempDir(), c.format, c.rate))
			a, k := m.AddLeg("a"), m.AddLeg("c")
			a.Place(0, media.RoleAgent)
			k.Place(0, media.RoleCustomer)
			x, y := speech(1, pcm.Rate), speech(2, pcm.Rate)
			for i := range b.N {
				m.both(a, k, int64(i)*pcm.Rate, x, y)
			}
			kept := m.end(nil)
			b.ReportMetric(float64(kept.Bytes)/kept.Duration.Seconds(), "B/s")
		})
	}
}
