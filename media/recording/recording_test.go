package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/internal/seal"
	"sidetone/media"
)

// place is a naive twin of the mixer: it adds samples at their place in a slice
// that is as long as need be.
func place(dst []int16, at int, src []int16) []int16 {
	if n := at + len(src); n > len(dst) {
		dst = append(dst, make([]int16, n-len(dst))...)
	}
	for i, v := range src {
		dst[at+i] = int16(max(math.MinInt16, min(math.MaxInt16, int32(dst[at+i])+int32(v))))
	}
	return dst
}

func TestWhatIsRecordedComesBack(t *testing.T) {
	x, y := speech(1, 12*pcm.Rate), speech(2, 12*pcm.Rate)
	for i := range 3000 { // full scale, square and noise
		x[20000+i] = int16(math.MaxInt16 - 65535*(i/7%2))
		y[20000+i] = int16(i * 7919)
	}
	for _, format := range []Format{FLAC, WAV} {
		t.Run(string(format), func(t *testing.T) {
			s := open(t, t.TempDir(), format, 0)
			m := begin(t, s)
			a, c := m.AddLeg("leg-a"), m.AddLeg("leg-c")
			a.Place(0, media.RoleAgent)
			c.Place(0, media.RoleCustomer)
			m.both(a, c, 0, x, y)
			kept := m.end(map[string]string{"leg-a": "customer", "leg-c": "agent"})
			if kept.Duration != 12*time.Second || kept.Lost != 0 || kept.Problem != "" || kept.Format != format || kept.Bytes == 0 {
				t.Errorf("%+v", kept)
			}
			// The roles were swapped in the end: the sides stay, the names do not.
			if len(kept.Left) != 1 || kept.Left[0] != (Party{"leg-a", "customer"}) || kept.Right[0] != (Party{"leg-c", "agent"}) {
				t.Errorf("left %v, right %v", kept.Left, kept.Right)
			}
			file := play(t, s)
			got := decoded(t, file)
			same(t, "left", got[left], x)
			same(t, "right", got[right], y)
			for _, want := range []string{"SIDETONE_LEFT=customer, leg leg-a", "SIDETONE_RIGHT=agent, leg leg-c", "SIDETONE_CALL=" + key} {
				if !bytes.Contains(file, []byte(want)) {
					t.Errorf("the tags lack %q", want)
				}
			}
			t.Logf("%s: %d bytes for %d bytes of samples", format, len(file), 4*len(x))
			names := files(t, s)
			if len(names) != 1 || names[0] != filepath.Join("20260304", key+"."+string(format)+".age") {
				t.Errorf("files: %v", names)
			}
		})
	}
}

func files(t testing.TB, s *Store) []string {
	t.Helper()
	var out []string
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Path)
	}
	return out
}

// Everything stands at its sample: legs that begin late, that come and go, that
// have holes, that overlap on one side.
func TestAlignment(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	x := speech(3, 4*pcm.Rate)
	second := x[:pcm.Rate]
	var want [2][]int16

	a := m.AddLeg("a1")
	a.Place(1500*time.Millisecond+13*time.Second/pcm.Rate, media.RoleAgent) // 24013 samples
	m.frames(a, 0, second)
	want[left] = place(want[left], 24013, second)
	// A hole of 7 frames and some samples.
	m.frames(a, pcm.Rate+7*320+11, second)
	want[left] = place(want[left], 24013+pcm.Rate+7*320+11, second)

	// The customer comes a minute later, the agent has gone; another agent comes.
	a.End()
	c := m.AddLeg("c")
	c.Place(time.Minute, media.RoleCustomer)
	m.frames(c, 0, x)
	want[right] = place(want[right], 60*pcm.Rate, x)
	b := m.AddLeg("a2")
	b.Place(time.Minute+4*time.Second, media.RoleAgent)
	m.each(b, c, 0, 4*pcm.Rate, second, second)
	want[left] = place(want[left], 64*pcm.Rate, second)
	want[right] = place(want[right], 64*pcm.Rate, second)
	// What comes again is too late.
	m.frames(c, 0, second)
	// A third agent beside the second: they are heard together.
	d := m.AddLeg("a3")
	d.Place(time.Minute+5*time.Second, media.RoleAgent)
	m.each(b, d, pcm.Rate, 0, x[:2*pcm.Rate], x[2*pcm.Rate:])
	want[left] = place(place(want[left], 65*pcm.Rate, x[:2*pcm.Rate]), 65*pcm.Rate, x[2*pcm.Rate:])

	kept := m.end(nil)
	got := decoded(t, play(t, s))
	ours := heard(t, s)
	n := max(len(want[left]), len(want[right]))
	for side, name := range []string{"left", "right"} {
		want[side] = append(want[side], make([]int16, n-len(want[side]))...)
		same(t, name, got[side], want[side])
		same(t, name+", decoded here", ours[side], want[side])
	}
	if kept.Lost != time.Second {
		t.Errorf("lost %v, want the second that came too late", kept.Lost)
	}
	if len(kept.Left) != 3 || len(kept.Right) != 1 || kept.Left[0].Role != "unknown" {
		t.Errorf("left %v, right %v", kept.Left, kept.Right)
	}
}

func TestTwoVoicesOnOneSideAddUp(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	a, b := m.AddLeg("a"), m.AddLeg("b")
	a.Place(0, media.RoleAgent)
	b.Place(10*time.Millisecond, media.RoleAgent)
	x, y := speech(4, 2*pcm.Rate), speech(5, 2*pcm.Rate)
	for i := range x {
		x[i] *= 8 // so that sums go beyond full scale
	}
	m.both(a, b, 0, x, y)
	m.end(nil)
	got := decoded(t, play(t, s))
	same(t, "left", got[left], place(place(nil, 0, x), 160, y))
	same(t, "right", got[right], make([]int16, 2*pcm.Rate+160))
}

func TestSides(t *testing.T) {
	const u, a, c = media.RoleUnknown, media.RoleAgent, media.RoleCustomer
	cases := []struct {
		name  string
		roles []media.Role
		over  []int // legs that end before the last comes
		want  string
	}{
		{"usual", []media.Role{a, c}, nil, "LR"},
		{"customer first", []media.Role{c, a}, nil, "RL"},
		{"by order", []media.Role{u, u}, nil, "LR"},
		{"unknown beside the agent", []media.Role{a, u}, nil, "LR"},
		{"unknown beside the customer", []media.Role{c, u}, nil, "RL"},
		{"agent beside the unknown", []media.Role{u, a}, nil, "LR"},
		{"customer beside the unknown", []media.Role{u, c}, nil, "LR"},
		{"transfer", []media.Role{a, c, a}, []int{0}, "LRL"},
		{"conference", []media.Role{a, c, a}, nil, "LRL"},
		{"unknown after the customer", []media.Role{a, c, u}, []int{1}, "LRR"},
		{"unknown after one", []media.Role{u, u}, []int{0}, "LR"},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			m := begin(t, open(t, t.TempDir(), FLAC, 0))
			var legs []*Leg
			got := ""
			for i, role := range k.roles {
				if i == len(k.roles)-1 {
					for _, o := range k.over {
						legs[o].End()
					}
				}
				l := m.AddLeg(string(rune('1' + i)))
				l.Place(0, role)
				l.Place(time.Hour, media.RoleCustomer) // only the first counts
				legs = append(legs, l)
				got += string("LR"[l.side])
			}
			if got != k.want {
				t.Errorf("got %s, want %s", got, k.want)
			}
		})
	}
}

// From the instant of the pause to that of its end there is nothing, whatever
// waits in queues, is mixed or comes; beside it everything stays.
func TestPausesAreSilent(t *testing.T) {
	for _, rate := range []int{16000, 8000} {
		s := open(t, t.TempDir(), FLAC, rate)
		m := begin(t, s)
		a, c := m.AddLeg("a"), m.AddLeg("c")
		a.Place(0, media.RoleAgent)
		c.Place(7*time.Millisecond, media.RoleCustomer) // 112 samples
		loud := make([]int16, 10*pcm.Rate)
		for i := range loud {
			loud[i] = 9000
		}
		m.both(a, c, 0, loud[:3*pcm.Rate], loud)
		// The pause begins in what is queued and mixed already: 2.8 s and a sample.
		var f pcm.Frame
		f.Start = 3 * pcm.Rate
		copy(f.Samples[:], loud)
		a.Frame(&f)
		const from, to = 2.8*pcm.Rate + 1, 6*pcm.Rate + 3
		m.Pause(pcm.Duration(from) + 1)
		m.both(a, c, 3*pcm.Rate+320, loud[:3*pcm.Rate], loud) // heard while paused
		m.Resume(pcm.Duration(to) + 1)
		m.both(a, c, 6*pcm.Rate+320, loud[:2*pcm.Rate], loud) // 112 of c's samples lie in it
		m.end(nil)
		got := decoded(t, play(t, s))
		step := pcm.Rate / rate
		for side := range got {
			for i, v := range got[side] {
				at := i * step
				inside := at >= from-step+1 && at < to
				// What the leg brought while it was paused is gone, up to a frame more.
				late := at >= to && at < 6*pcm.Rate+320+112
				// The filter rings where its input jumps.
				edge := step > 1 && (at < 400 || at > from-400 && at < from || at >= to && at < to+1000 || at > len(got[side])*step-400)
				if inside && v != 0 {
					t.Fatalf("%d Hz, side %d: sample %d in the pause is %d", rate, side, i, v)
				}
				if begun := at >= 112*side; begun && !inside && !late && !edge && (v < 8990 || v > 9010) && at < 8*pcm.Rate+320 {
					t.Fatalf("%d Hz, side %d: sample %d beside the pause is %d", rate, side, i, v)
				}
			}
		}
	}
}

func TestLostAndInsertedAreSilence(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	a := m.AddLeg("a")
	a.Place(0, media.RoleAgent)
	x := speech(6, 5*pcm.Rate)
	wanted := make([]int16, len(x))
	var f pcm.Frame
	for i := 0; i < len(x); i += pcm.FrameSamples {
		f.Start, f.Flags = int64(i), pcm.Flags(i/pcm.FrameSamples%4)
		copy(f.Samples[:], x[i:])
		if f.Flags == 0 {
			copy(wanted[i:], f.Samples[:])
		}
		a.Frame(&f)
		m.pump()
	}
	m.end(nil)
	same(t, "left", decoded(t, play(t, s))[left], wanted)
}

func TestNoSoundNoFile(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	a := m.AddLeg("a")
	m.frames(a, 0, speech(1, 320)) // nobody said where it belongs
	a.Place(0, media.RoleAgent)
	var f pcm.Frame
	for i := range int64(500) {
		f.Start, f.Flags = i*320, pcm.Inserted
		a.Frame(&f)
		m.pump()
	}
	m.Pause(0)
	m.frames(a, 500*320, speech(1, pcm.Rate))
	if kept := m.end(nil); kept.Duration != 0 {
		t.Errorf("%+v", kept)
	}
	if names := files(t, s); len(names) != 0 {
		t.Errorf("files: %v", names)
	}
	if _, err := s.Open(key); !errors.Is(err, ErrNone) {
		t.Errorf("opening it: %v", err)
	}
	r, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := r.Close(nil); kept.Duration != 0 || err != nil {
		t.Errorf("%+v, %v", kept, err)
	}
}

// The lower rate is the higher one filtered: aligned, and as long.
func TestLowerRate(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 8000)
	m := begin(t, s)
	a, c := m.AddLeg("a"), m.AddLeg("c")
	a.Place(0, media.RoleAgent)
	c.Place(0, media.RoleCustomer)
	x := make([]int16, 5*pcm.Rate+640)
	for i := range x {
		x[i] = int16(10000 * math.Sin(2*math.Pi*440*float64(i)/pcm.Rate))
	}
	m.both(a, c, 0, x, make([]int16, len(x)))
	if kept := m.end(nil); kept.Duration != 5040*time.Millisecond {
		t.Errorf("%v", kept.Duration)
	}
	got := decoded(t, play(t, s))
	if len(got[left]) != len(x)/2 {
		t.Fatalf("%d samples of %d", len(got[left]), len(x))
	}
	for i := 400; i < len(got[left])-400; i++ {
		if d := int(got[left][i]) - int(x[2*i]); d < -60 || d > 60 {
			t.Fatalf("sample %d is %d, was %d", i, got[left][i], x[2*i])
		}
	}
	same(t, "right", got[right], make([]int16, len(x)/2))
}

// The file's header is what players need, in the form that RFC 9639 draws.
func TestHeader(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	a := m.AddLeg("a")
	a.Place(0, media.RoleAgent)
	m.frames(a, 0, speech(1, 25*pcm.Rate+320))
	m.end(nil)
	file := play(t, s)
	want := []byte("fLaC\x00\x00\x00\x22\x0f\xa0\x0f\xa0")
	if !bytes.HasPrefix(file, want) {
		t.Errorf("the file begins with %x", file[:16])
	}
	// Rate (20 bits), channels less one (3), bits less one (5), samples (36).
	if v := binary.BigEndian.Uint64(file[18:]); v != 16000<<44|1<<41|15<<36|(25*pcm.Rate+320) {
		t.Errorf("rate, channels, bits and samples are %x", v)
	}
	if bytes.Equal(file[26:42], make([]byte, 16)) {
		t.Error("there is no checksum")
	}
	// The seek points stand at 0, 10 and 20 s, and each is where a frame begins.
	if file[42] != 3 || binary.BigEndian.Uint32(file[42:])&0xffffff != 3*18 {
		t.Fatalf("no table of three seek points: %x", file[42:46])
	}
	tags := 46 + 3*18
	first := tags + 4 + int(binary.BigEndian.Uint32(file[tags:])&0xffffff)
	for i := range 3 {
		p := file[46+18*i:]
		at := first + int(binary.BigEndian.Uint64(p[8:]))
		if n := binary.BigEndian.Uint64(p); n != uint64(i)*160000 || file[at] != 0xff || file[at+1] != 0xf8 {
			t.Errorf("seek point %d: sample %d at %x", i, n, file[at:at+4])
		}
	}
}

func TestEraseAndExpire(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, FLAC, 0)
	make1 := func(key string) {
		r, err := s.Begin(key)
		if err != nil {
			t.Fatal(err)
		}
		l := r.AddLeg("a")
		l.Place(0, media.RoleAgent)
		var f pcm.Frame
		f.Samples[3] = 7
		l.Frame(&f)
		if kept, err := r.Close(nil); err != nil || kept.Duration != 20*time.Millisecond {
			t.Fatalf("%+v, %v", kept, err)
		}
	}
	old, young := "20260101-000000-aaaaaaaa", "20260301-000000-bbbbbbbb"
	make1(old)
	make1(young)
	if s.Stats().Kept.Load() != 2 || s.Stats().Running.Load() != 0 || s.Stats().Bytes.Load() == 0 {
		t.Errorf("kept %d, running %d", s.Stats().Kept.Load(), s.Stats().Running.Load())
	}
	if _, err := s.Begin(old); err == nil {
		t.Error("a finished recording is begun again")
	}
	// A link keeps the bytes that the name loses: they must be of no use.
	path := s.path(young, ".flac.age")
	link := filepath.Join(dir, "stolen")
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Expire(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || len(gone) != 1 || gone[0] != old {
		t.Errorf("expired %v, %v", gone, err)
	}
	if _, err = s.Open(old); !errors.Is(err, ErrNone) {
		t.Errorf("the expired one: %v", err)
	}
	if p, err := s.Open(young); err != nil {
		t.Error(err)
	} else {
		p.Close()
	}
	if found, err := s.Erase(young); !found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := s.Erase(young); found || err != nil {
		t.Errorf("again: %v, %v", found, err)
	}
	b, err := os.ReadFile(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.cfg.Keys.Open(b, purpose, young); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("what is left of an erased file opens: %v", err)
	}
	// One that is being made is forgotten.
	r, err := s.Begin(young)
	if err != nil {
		t.Fatal(err)
	}
	l := r.AddLeg("a")
	l.Place(0, media.RoleAgent)
	var f pcm.Frame
	f.Samples[3] = 7
	for i := range int64(100) {
		f.Start = i * 320
		l.Frame(&f)
	}
	if _, err = s.Begin(young); !errors.Is(err, ErrRunning) {
		t.Errorf("begun twice: %v", err)
	}
	if _, err = s.Finish(young, nil); !errors.Is(err, ErrRunning) {
		t.Errorf("finished while it runs: %v", err)
	}
	if gone, err = s.Expire(time.Now()); len(gone) != 0 || err != nil {
		t.Errorf("expired %v while it runs, %v", gone, err)
	}
	if _, err = s.Erase(young); err != nil {
		t.Fatal(err)
	}
	l.Frame(&f)
	l.End()
	if kept, err := r.Close(nil); kept.Duration != 0 || err != nil {
		t.Errorf("%+v, %v", kept, err)
	}
	if names := files(t, s); len(names) != 0 {
		t.Errorf("files: %v", names)
	}
	for _, bad := range []string{"", "../x", "a/b", "a.b", strings.Repeat("a", 65)} {
		if _, err := s.Erase(bad); err == nil {
			t.Errorf("%q is erased", bad)
		}
		if _, err := s.Begin(bad); err == nil {
			t.Errorf("%q is begun", bad)
		}
		if _, err := s.Open(bad); !errors.Is(err, ErrNone) {
			t.Errorf("%q is opened: %v", bad, err)
		}
	}
}

func TestFilesThatDoNotOpen(t *testing.T) {
	s := open(t, t.TempDir(), FLAC, 0)
	m := begin(t, s)
	a := m.AddLeg("a")
	a.Place(0, media.RoleAgent)
	m.frames(a, 0, speech(1, pcm.Rate))
	m.end(nil)
	path := s.path(key, ".flac.age")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, t.TempDir(), FLAC, 0)
	for name, c := range map[string]struct {
		store *Store
		b     []byte
		key   string
		want  error
	}{
		"another call's":  {s, b, "20260304-050607-zzzzzzzz", seal.ErrOther},
		"another keyring": {other, b, key, seal.ErrNoKey},
		"cut":             {s, b[:len(b)-1], key, seal.ErrBroken},
		"empty":           {s, nil, key, seal.ErrBroken},
	} {
		path := c.store.path(c.key, ".flac.age")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.store.Open(c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	good := open(t, t.TempDir(), FLAC, 0).cfg
	for want, change := range map[string]func(*Config){
		"folder": func(c *Config) { c.Dir = "" },
		"format": func(c *Config) { c.Format = "mp3" },
		"Hz":     func(c *Config) { c.Rate = 44100 },
		"keys":   func(c *Config) { c.Keys = nil },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
