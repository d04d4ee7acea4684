package audiosocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/g711"
	"sidetone/media/mediatest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestVectors plays the scripts of testdata, composed from the protocol's
// description, and holds what the host was told against the golden files.
func TestVectors(t *testing.T) {
	for name, script := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			r := open(t, Config{})
			r.play(script)
			got, file := r.h.Text(), filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func vectors(t testing.TB) map[string]string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	all := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".txt")] = string(b)
	}
	return all
}

func TestChecklist(t *testing.T) {
	silence := func(n int) func(int) []byte { return func(int) []byte { return make([]byte, n) } }
	slin := func(rate, ms int) func(int) []byte {
		n := rate * ms / 1000
		return func(i int) []byte { return mediatest.Tone(rate, i*n, n) }
	}
	g711Tone := func(law g711.Law) func(int) []byte {
		c, err := g711.New(law)
		if err != nil {
			t.Fatal(err)
		}
		return func(i int) []byte {
			var x [160]int16
			for j, b := 0, mediatest.Tone(8000, i*160, 160); j < 160; j++ {
				x[j] = int16(binary.LittleEndian.Uint16(b[2*j:]))
			}
			out := make([]byte, 160)
			if _, err := c.Encode(out, x[:]); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}

	t.Run("A1 UUID in segments of one byte", func(t *testing.T) {
		r := open(t, Config{})
		for _, b := range uuidFrame() {
			if len(r.h.Calls()) > 0 {
				t.Fatal("the call began before the UUID was whole")
			}
			r.take(b)
		}
		if r.err != nil || len(r.h.Calls()) != 1 || r.h.Calls()[0].External != uuidText || r.h.Calls()[0].ID != uuidText {
			t.Errorf("got %+v, %v", r.h.Calls(), r.err)
		}
		r.close()
	})

	t.Run("A2 unknown UUID", func(t *testing.T) {
		unknown := errors.New("not announced; POST it first")
		r := open(t, Config{Lookup: func(uuid string) (media.Call, media.Leg, error) {
			if uuid != uuidText {
				t.Errorf("asked for %s", uuid)
			}
			return media.Call{}, media.Leg{}, unknown
		}})
		r.take(uuidFrame()...)
		if !errors.Is(r.err, unknown) || !strings.Contains(r.err.Error(), uuidText) || len(r.h.Calls()) != 0 {
			t.Errorf("err %v, calls %v", r.err, r.h.Calls())
		}
		r.close()
	})

	for _, c := range []struct {
		name    string
		payload func(int) []byte
		each    time.Duration
		want    string
		format  Format
	}{
		{"320 bytes are slin", slin(8000, 20), 20 * time.Millisecond, "slin at 8000 Hz", Slin},
		{"160 bytes of mu-law", g711Tone(g711.MuLaw), 20 * time.Millisecond, "ulaw at 8000 Hz", MuLaw},
		{"160 bytes of A-law", g711Tone(g711.ALaw), 20 * time.Millisecond, "alaw at 8000 Hz", ALaw},
		{"160 bytes of slin, 10 ms", slin(8000, 10), 10 * time.Millisecond, "slin at 8000 Hz", Slin},
		{"640 bytes are slin16", slin(16000, 20), 20 * time.Millisecond, "slin16 at 16000 Hz", Slin16},
		{"640 bytes of slin, 40 ms, by their pace", slin(8000, 40), 40 * time.Millisecond, "slin at 8000 Hz", Slin},
		{"320 bytes of slin16, 10 ms, by their pace", slin(16000, 10), 10 * time.Millisecond, "slin16 at 16000 Hz", Slin16},
	} {
		t.Run("A3 "+c.name, func(t *testing.T) {
			r := open(t, Config{})
			r.take(uuidFrame()...)
			n := int(4 * time.Second / c.each)
			r.stream(KindSlin, c.payload, n, c.each)
			last := r.h.Legs()[len(r.h.Legs())-1]
			if r.err != nil || !strings.Contains(r.h.Text(), c.want) || r.s.format != c.format {
				t.Errorf("err %v, format %v, told\n%s", r.err, r.s.format, r.h.Text())
			}
			if f := last.Pitch(); f < 390 || f > 410 {
				t.Errorf("the tone of 400 Hz has %.0f Hz", f)
			}
			r.close()
			// And the listener's override holds whatever the size.
			if c.each == 20*time.Millisecond {
				r = open(t, Config{Format: c.format})
				r.take(uuidFrame()...)
				r.take(frame(KindSlin, c.payload(0)[:100])...)
				if r.s.format != c.format {
					t.Errorf("with the override the format is %v", r.s.format)
				}
				r.close()
			}
		})
	}

	t.Run("A4 kinds of audio", func(t *testing.T) {
		for k := KindSlin; k <= KindSlin192; k++ {
			r := open(t, Config{Format: Slin})
			r.take(uuidFrame()...)
			r.stream(k, slin(k.Rate(), 20), 50, 20*time.Millisecond)
			l := r.h.Legs()[0]
			if f := l.Pitch(); r.err != nil || r.s.rate != k.Rate() || l.Frames != 50 || f < 380 || f > 420 {
				t.Errorf("%v: err %v, rate %d, %d frames, a tone of %.0f Hz", k, r.err, r.s.rate, l.Frames, f)
			}
			r.close()
		}
	})
	t.Run("A4 change of the rate", func(t *testing.T) {
		r := open(t, Config{})
		r.take(uuidFrame()...)
		r.stream(KindSlin, slin(8000, 20), 10, 20*time.Millisecond)
		r.stream(KindSlin16, slin(16000, 20), 10, 20*time.Millisecond)
		if r.err != nil || len(r.h.Legs()) != 2 || r.h.Legs()[0].ID != r.h.Legs()[1].ID || r.h.Legs()[1].Frames != 10 {
			t.Errorf("err %v, told\n%s", r.err, r.h.Text())
		}
		for i := range 40 {
			r.take(frame(KindSlin+Kind(i%2), make([]byte, 320))...)
		}
		if r.err == nil || !strings.Contains(r.err.Error(), "changed") {
			t.Errorf("changes without end are %v", r.err)
		}
		r.close()
	})

	t.Run("A5 digit", func(t *testing.T) {
		r := open(t, Config{})
		r.take(uuidFrame()...)
		r.take(frame(KindDigit, []byte("5"))...) // before any audio
		r.stream(KindSlin, slin(8000, 20), 5, 20*time.Millisecond)
		r.take(0x03, 0, 1, 0x35)
		for _, odd := range []string{"", "55", "x", "\x00"} {
			r.take(frame(KindDigit, []byte(odd))...)
		}
		for _, key := range "*#aD!" {
			r.take(frame(KindDigit, []byte(string(key)))...)
		}
		text := r.h.Text()
		if strings.Count(text, "digit") != 7 || !strings.Contains(text, "digit 5 at 1600") || !strings.Contains(text, "digit A") {
			t.Errorf("told\n%s", text)
		}
		r.close()
	})

	t.Run("A6 ends", func(t *testing.T) {
		for _, c := range []struct {
			name  string
			bytes []byte
			lost  error
			state media.EndState
		}{
			{"hang-up frame", frame(KindHangUp, nil), nil, media.Ended},
			{"FIN", nil, nil, media.Ended},
			{"FIN within a frame", []byte{0x10, 1}, nil, media.Lost},
			{"RST", nil, errors.New("connection reset by peer"), media.Lost},
			{"error frame", frame(KindError, []byte{2}), nil, media.Lost},
		} {
			r := open(t, Config{})
			r.take(uuidFrame()...)
			r.stream(KindSlin, slin(8000, 20), 2, 20*time.Millisecond)
			r.take(c.bytes...)
			if r.err == nil {
				r.err = c.lost
			}
			r.close()
			if !strings.Contains(r.h.Text(), "call "+uuidText+" ended: "+c.state.String()) {
				t.Errorf("%s: told\n%s", c.name, r.h.Text())
			}
		}
	})

	t.Run("A7 long frame and unknown kind", func(t *testing.T) {
		r := open(t, Config{})
		r.take(uuidFrame()...)
		r.take(frame(KindSlin, make([]byte, MaxPayload))...)
		r.take(frame(0x7e, []byte("whatever"))...)
		r.take(frame(KindSilence, make([]byte, 10))...)
		r.take(frame(0x19, make([]byte, 640))...)
		r.take(frame(KindSlin, nil)...)
		r.take(frame(KindSlin, []byte{1})...)
		r.take(frame(KindSlin, make([]byte, 320))...)
		// 32767 + 160 samples, of which the last frame is not full.
		if got := r.h.Legs()[0].Frames; r.err != nil || got != 205 {
			t.Errorf("err %v, %d frames", r.err, got)
		}
		r.close()
	})

	t.Run("A8 silence goes back", func(t *testing.T) {
		r := open(t, Config{})
		r.sleep(time.Second)
		if len(r.w.frames) != 0 {
			t.Errorf("%d frames before the UUID", len(r.w.frames))
		}
		r.take(uuidFrame()...)
		r.stream(KindSlin16, slin(16000, 20), 100, 20*time.Millisecond)
		if n := len(r.w.frames); n != 100 {
			t.Errorf("%d frames of silence in 2 s, want 100", n)
		}
		for _, f := range r.w.frames {
			if !bytes.Equal(f, frame(KindSlin16, make([]byte, 640))) {
				t.Fatalf("silence is % x...", f[:8])
			}
		}
		// Ticks that come late or early do not change the pace.
		r.w.frames = nil
		at := r.now
		for i := range 500 {
			at = at.Add(20 * time.Millisecond)
			r.take(frame(KindSlin16, make([]byte, 640))...)
			r.err = r.s.Tick(at.Add(time.Duration(i*7%17) * time.Millisecond))
		}
		if n := len(r.w.frames); n < 499 || n > 501 {
			t.Errorf("%d frames of silence in 10 s of uneven ticks, want 500", n)
		}
		// After a pause of the machine, there is no flood.
		r.w.frames = nil
		r.err = r.s.Tick(at.Add(5 * time.Second))
		if n := len(r.w.frames); n != 1 {
			t.Errorf("%d frames at once after a pause", n)
		}
		r.take(frame(KindHangUp, nil)...)
		r.w.frames = nil
		if err := r.s.Tick(at.Add(6 * time.Second)); !errors.Is(err, ErrHungUp) || len(r.w.frames) > 0 {
			t.Errorf("after the end: %v, %d frames", err, len(r.w.frames))
		}
		r.close()

		r = open(t, Config{Quiet: true})
		r.take(uuidFrame()...)
		r.stream(KindSlin, silence(320), 10, 20*time.Millisecond)
		if len(r.w.frames) != 0 {
			t.Error("a quiet session sends")
		}
		r.close()
	})

	t.Run("A9 no UUID", func(t *testing.T) {
		r := open(t, Config{})
		r.take(uuidFrame()[:18]...)
		r.sleep(4900 * time.Millisecond)
		if r.err != nil {
			t.Fatalf("closed after 4.9 s: %v", r.err)
		}
		r.sleep(200 * time.Millisecond)
		if r.err == nil || !strings.Contains(r.err.Error(), "no UUID") {
			t.Errorf("after 5 s: %v", r.err)
		}
		r.close()
	})

	t.Run("A10 stall and burst", func(t *testing.T) {
		r := open(t, Config{})
		r.take(uuidFrame()...)
		next := slin(8000, 20)
		r.stream(KindSlin, next, 50, 20*time.Millisecond)
		r.sleep(300 * time.Millisecond)
		for i := range 15 {
			r.take(frame(KindSlin, next(50+i))...)
		}
		r.stream(KindSlin, next, 10, 20*time.Millisecond)
		l := r.h.Legs()[0]
		if l.Frames != 75 || l.Inserted != 0 || l.Next != 75*320 {
			t.Errorf("%d frames, %d inserted, up to %d", l.Frames, l.Inserted, l.Next)
		}
		r.sleep(3 * time.Second) // beyond the threshold: time goes on
		r.stream(KindSlin, next, 1, 20*time.Millisecond)
		if l = r.h.Legs()[0]; l.Inserted < 140 || l.Inserted > 155 {
			t.Errorf("%d frames inserted in 3 s", l.Inserted)
		}
		r.close()
	})

	t.Run("A11 UUID that is running", func(t *testing.T) {
		h := mediatest.New()
		a, b := open(t, Config{Host: h}), open(t, Config{Host: h})
		a.take(uuidFrame()...)
		a.stream(KindSlin, slin(8000, 20), 5, 20*time.Millisecond)
		b.take(uuidFrame()...)
		b.take(frame(KindSlin, make([]byte, 320))...)
		if !errors.Is(b.err, media.ErrDuplicate) || len(h.Calls()) != 1 || h.Legs()[0].Frames != 5 {
			t.Errorf("err %v, told\n%s", b.err, h.Text())
		}
		b.close()
		if h.Legs()[0].Ended {
			t.Error("the second connection ended the first one's leg")
		}
		a.h = h
		a.close()
	})
}

// Two connections can be announced as the legs of one call.
func TestLookup(t *testing.T) {
	r := open(t, Config{Lookup: func(string) (media.Call, media.Leg, error) {
		return media.Call{ID: "c1", Agent: "maria"}, media.Leg{Role: media.RoleAgent, RoleReason: "announced"}, nil
	}})
	r.take(uuidFrame()...)
	r.close()
	want := "open c1 source=audiosocket external=" + uuidText + " agent=maria\nleg " + uuidText + " role=agent reason=\"announced\"\n"
	if got := r.h.Text(); !strings.HasPrefix(got, want) || !r.h.Calls()[0].Started.Equal(start) {
		t.Errorf("got\n%s", got)
	}
}

func TestHangUp(t *testing.T) {
	r := open(t, Config{})
	r.take(uuidFrame()...)
	end := media.End{State: media.Aborted, Reason: "shutting down"}
	r.h.HangUp(end)
	if len(r.w.hung) != 1 {
		t.Fatal("the host's hang-up does not reach the writer")
	}
	for range 2 {
		if err := r.s.HangUp(end, r.now); !errors.Is(err, ErrHungUp) {
			t.Errorf("got %v", err)
		}
	}
	if len(r.w.frames) != 1 || !bytes.Equal(r.w.frames[0], []byte{0, 0, 0}) {
		t.Errorf("sent % x", r.w.frames)
	}
	r.take(frame(KindSlin, make([]byte, 320))...)
	r.close()
	if text := r.h.Text(); !strings.Contains(text, "ended: aborted, shutting down") || strings.Contains(text, "frames") {
		t.Errorf("told\n%s", text)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		host  error
		want  string
	}{
		{"audio first", frame(KindSlin, make([]byte, 320)), nil, "must be the UUID"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 20000)), nil, "must be the UUID"},
		{"short UUID", frame(KindUUID, make([]byte, 15)), nil, "15 bytes"},
		{"no room", uuidFrame(), media.ErrBusy, "no room"},
		{"error", append(uuidFrame(), frame(KindError, []byte{1, 0xab})...), nil, "error 0x01ab"},
		{"faster than time", append(uuidFrame(), bytes.Repeat(frame(KindSlin, make([]byte, 60000)), 4)...), nil, "sample rate"},
	} {
		r := open(t, Config{})
		r.h.Refuse = c.host
		r.take(c.bytes...)
		if r.err == nil || !strings.Contains(r.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, r.err, c.want)
		}
		r.close()
	}
	r := open(t, Config{})
	r.take(uuidFrame()...)
	r.sleep(61 * time.Second)
	if !errors.Is(r.err, fork.ErrSilent) {
		t.Errorf("after a minute without frames: %v", r.err)
	}
	r.close()
	if !strings.Contains(r.h.Text(), "ended: timed out") {
		t.Errorf("told\n%s", r.h.Text())
	}
}

func TestSwappedBytesAreTold(t *testing.T) {
	r := open(t, Config{})
	r.take(uuidFrame()...)
	r.stream(KindSlin, func(i int) []byte {
		b := mediatest.Tone(8000, i*160, 160)
		for j := 0; j < len(b); j += 2 {
			b[j], b[j+1] = b[j+1], b[j]
		}
		return b
	}, 100, 20*time.Millisecond)
	r.close()
	if n := strings.Count(r.h.Text(), "swapped"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// refusal runs bytes through a session and checks that what is wrong with them
// is said.
func refusal(t *testing.T, b []byte, cut func(int) int) (string, error) {
	r := open(t, Config{})
	for len(b) > 0 && r.err == nil {
		n := min(max(cut(len(b)), 1), len(b))
		r.take(b[:n]...)
		b = b[n:]
	}
	r.close()
	if r.err != nil && !errors.Is(r.err, ErrHungUp) && !strings.HasPrefix(r.err.Error(), "audiosocket: ") {
		t.Errorf("an error that does not say whose it is: %v", r.err)
	}
	return r.h.Text(), r.err
}

func stream(t testing.TB) []byte {
	b := uuidFrame()
	for i := range 3 {
		b = append(b, frame(KindSlin, mediatest.Tone(8000, i*160, 160))...)
	}
	b = append(b, frame(KindDigit, []byte("5"))...)
	b = append(b, frame(KindSlin16, mediatest.Tone(16000, 0, 320))...)
	return append(b, frame(KindHangUp, nil)...)
}

func TestMutations(t *testing.T) {
	good := stream(t)
	rnd := rand.New(rand.NewPCG(5, 11))
	refused := 0
	for range 1000 {
		b := bytes.Clone(good)
		for range 1 + rnd.IntN(4) {
			// Half of the changes go to the first frames' headers and the UUID.
			i := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 {
				i = rnd.IntN(min(len(b), 25))
			}
			switch rnd.IntN(3) {
			case 0:
				b[i] ^= 1 << rnd.IntN(8)
			case 1:
				b = append(b[:i], b[min(len(b), i+1+rnd.IntN(20)):]...)
			default:
				b = append(b[:i], append([]byte{byte(rnd.Uint32()), byte(rnd.Uint32())}, b[i:]...)...)
			}
			if len(b) == 0 {
				b = []byte{0}
			}
		}
		if _, err := refusal(t, b, func(n int) int { return n }); err != nil && !errors.Is(err, ErrHungUp) {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("only %d of 1000 mutations were refused: are they any?", refused)
	}
}

// However the stream is split into segments, the host is told the same.
func FuzzSession(f *testing.F) {
	f.Add(stream(f), uint8(1))
	f.Add(uuidFrame()[:7], uint8(3))
	f.Add(append(uuidFrame(), frame(KindSlin, make([]byte, 160))...), uint8(100))
	f.Add(append(uuidFrame(), frame(KindError, []byte{4})...), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, segment uint8) {
		whole, err := refusal(t, b, func(n int) int { return n })
		parts, perr := refusal(t, b, func(int) int { return int(segment) })
		if whole != parts || fmt.Sprint(err) != fmt.Sprint(perr) {
			t.Errorf("whole: %v\n%sin segments of %d: %v\n%s", err, whole, segment, perr, parts)
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	p, err := New(Config{Host: deaf()})
	if err != nil {
		b.Fatal(err)
	}
	s, now := p.Open(nothing{}, start), start
	if err := s.Bytes(uuidFrame(), now); err != nil {
		b.Fatal(err)
	}
	data := frame(KindSlin, mediatest.Tone(8000, 0, 160))
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(20 * time.Millisecond)
		if err := errors.Join(s.Bytes(data, now), s.Tick(now)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFramesDoNotAllocate(t *testing.T) {
	p, err := New(Config{Host: deaf()})
	if err != nil {
		t.Fatal(err)
	}
	s, now := p.Open(nothing{}, start), start
	if err := s.Bytes(uuidFrame(), now); err != nil {
		t.Fatal(err)
	}
	data := frame(KindSlin16, mediatest.Tone(16000, 0, 320))
	step := func() {
		now = now.Add(20 * time.Millisecond)
		if s.Bytes(data, now) != nil || s.Tick(now) != nil {
			t.Error("an error")
		}
	}
	step()
	if n := testing.AllocsPerRun(500, step); n != 0 {
		t.Errorf("%v allocations for a frame", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"no host":        {},
		"negative time":  {Host: mediatest.New(), Idle: -1},
		"unknown format": {Host: mediatest.New(), Format: 9},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for f := Auto; f <= ALaw; f++ {
		if got, err := ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%v: parsed as %v, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("mp3"); err == nil {
		t.Error("mp3 is a format")
	}
}
