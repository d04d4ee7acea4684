package twilio

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/media"
)

// asParsed is what the slow way makes of a message: the twin of chunk.scan.
func asParsed(message []byte) (c chunk, ok bool) {
	m, err := parse(message)
	if err != nil || m.event() != "media" || c.read(m) != nil {
		return chunk{}, false
	}
	return c, true
}

func same(a, b chunk) bool {
	return bytes.Equal(a.track, b.track) && bytes.Equal(a.payload, b.payload) && a.n == b.n && a.ms == b.ms && a.counted == b.counted && a.timed == b.timed
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		name, message string
		fast          bool
	}{
		{"twilio", chunkOf("inbound", 3, 60, 0x7f), true},
		{"numbers", `{"event":"media","sequenceNumber":4,"media":{"track":"outbound","chunk":0,"timestamp":1760000000000,"payload":"AA=="}}`, true},
		{"no track", `{"event":"media","media":{"timestamp":"20","payload":""}}`, true},
		{"counted by messages", `{"event":"media","sequence_number":"12","media":{"payload":"AA"}}`, true},
		{"white space", " {\n\t\"media\" : { \"payload\" : \"AA\" } , \"event\" : \"media\" } \r\n", true},
		{"unknown fields", `{"event":"media","x":1,"y":"z","media":{"a":"b","payload":"AA","c":12}}`, true},
		{"escape", `{"event":"media","media":{"payload":"A\/A="}}`, false},
		{"escaped name", `{"\u0065vent":"media","media":{"payload":"AA"}}`, false},
		{"repeated", `{"event":"media","media":{"payload":"AA","payload":"BB"}}`, false},
		{"nested", `{"event":"media","x":{},"media":{"payload":"AA"}}`, false},
		{"fraction", `{"event":"media","media":{"timestamp":20.5,"payload":"AA"}}`, false},
		{"bandwidth", `{"eventType":"media","track":"inbound","payload":"AA"}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got chunk
			if fast := got.scan([]byte(c.message)); fast != c.fast {
				t.Errorf("fast is %v", fast)
			}
			want, ok := asParsed([]byte(c.message))
			if !ok || c.fast && !same(got, want) {
				t.Errorf("got %+v, want %+v, %v", got, want, ok)
			}
		})
	}
	for _, bad := range []string{
		``, `{`, `{}`, `null`, `{"event":"media"}`, `{"event":"stop","media":{"payload":"AA"}}`, `{"event":"media","media":{}}`,
		`{"event":"media","media":{"payload":7}}`, `{"event":"media","media":{"payload":"AA"}`, `{"event":"media","media":{"payload":"AA"}}}`,
		`{"event":"media","media":{"payload":"AA",}}`, `{"event":"media","n":01,"media":{"payload":"AA"}}`, "{\"event\":\"media\",\"media\":{\"payload\":\"A\nA\"}}",
	} {
		var got chunk
		if got.scan([]byte(bad)) {
			t.Errorf("%s: taken", bad)
		}
		if c, ok := asParsed([]byte(bad)); ok {
			t.Errorf("%s: taken the slow way as %+v", bad, c)
		}
	}
}

// Whatever the scanner takes, encoding/json takes too and reads in the same way.
func FuzzScan(f *testing.F) {
	f.Add([]byte(chunkOf("inbound", 3, 60, 0x7f)))
	f.Add([]byte(`{"event":"media","sequenceNumber":4,"media":{"track":"outbound","chunk":0,"timestamp":1760000000000,"payload":"AA=="}}`))
	f.Add([]byte(`{"eventType":"media","streamId":"","media":{"payload":"A\/-_","chunk":"007"}, "x" : 0 }`))
	for _, steps := range vectors(f) {
		for _, s := range steps {
			if s.what == "text" {
				f.Add(s.data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var got chunk
		if !got.scan(message) {
			return
		}
		want, ok := asParsed(message)
		if !ok || !same(got, want) {
			t.Errorf("%q: got %+v, want %+v, %v", message, got, want, ok)
		}
	})
}

// A connection of three messages of any content: nothing panics, and legs and
// call end once.
func FuzzSession(f *testing.F) {
	for _, steps := range vectors(f) {
		f.Add(steps[0].data, steps[1].data, steps[2].data, steps[0].what == "base64")
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte, binary bool) {
		r := newRig(t, nil)
		for i, message := range [][]byte{a, b, c, c} {
			r.now = r.now.Add(20 * time.Millisecond)
			var err error
			if binary && i != 1 {
				err = r.s.Binary(message, r.now)
			} else {
				err = r.s.Text(message, r.now)
			}
			if err != nil {
				break
			}
			_ = r.wait(200 * time.Millisecond)
		}
		r.s.Closed(nil, r.now)
		if len(r.host.ended) != len(r.host.calls) {
			t.Errorf("%d calls, %d ends", len(r.host.calls), len(r.host.ended))
		}
		for _, l := range r.host.legs {
			for i := 1; i < len(l.frames); i++ {
				if l.frames[i].Start < l.frames[i-1].End() {
					t.Errorf("frame %d starts at %d, before the end of the one before", i, l.frames[i].Start)
				}
			}
			if l.ends != 1 {
				t.Errorf("leg %s has %d ends", l.leg.ID, l.ends)
			}
		}
	})
}

// running is a session with both tracks whose sinks keep nothing, and its
// messages: one for each track.
func running(tb testing.TB, track string) (*rig, func()) {
	tb.Helper()
	r := newRig(tb, func(c *Config) { c.Log = slog.New(slog.DiscardHandler) })
	r.must(hello, startBoth)
	for _, l := range r.host.legs {
		l.quiet = true
	}
	// The numbers of the message are changed in place.
	message := []byte(chunkOf(track, 100000, 10000000, 0x31))
	chunk := bytes.Index(message, []byte(`"chunk":"`)) + len(`"chunk":"`)
	stamp := bytes.Index(message, []byte(`"timestamp":"`)) + len(`"timestamp":"`)
	n := 100000
	return r, func() {
		r.now = r.now.Add(20 * time.Millisecond)
		n++
		for i, v := 5, n; i >= 0; i, v = i-1, v/10 {
			message[chunk+i] = byte('0' + v%10)
		}
		for i, v := 7, (n-100000)*20; i >= 0; i, v = i-1, v/10 {
			message[stamp+i] = byte('0' + v%10)
		}
		if err := r.s.Text(message, r.now); err != nil {
			tb.Fatal(err)
		}
	}
}

// A message allocates nothing, whether chunks come in order or wait.
func TestMediaAllocatesNothing(t *testing.T) {
	r, next := running(t, "inbound")
	t.Run("T17 in order", func(t *testing.T) {
		if n := testing.AllocsPerRun(500, next); n != 0 {
			t.Errorf("%.1f allocations a message", n)
		}
	})
	l := r.s.tracks[0]
	if got := l.leg.Stats(); got.Received < 500 || l.dropped != 0 || got.InsertedFrames > 1 {
		t.Errorf("stats %+v, dropped %d: not what was to be measured", got, l.dropped)
	}
	// Two that change places, over and over.
	buf := make([]byte, 0, 1000)
	k := 0
	send := func(n int) {
		buf = append(buf[:0], `{"event":"media","media":{"track":"outbound","chunk":`...)
		buf = strconv.AppendInt(buf, int64(n), 10)
		buf = append(buf, `,"timestamp":`...)
		buf = strconv.AppendInt(buf, int64(20*n), 10)
		buf = append(append(append(buf, `,"payload":"`...), swapped...), `"}}`...)
		if err := r.s.Text(buf, r.now); err != nil {
			t.Fatal(err)
		}
	}
	swap := func() {
		r.now = r.now.Add(40 * time.Millisecond)
		send(k + 1)
		send(k)
		k += 2
	}
	swap()
	t.Run("T17 out of order", func(t *testing.T) {
		if n := testing.AllocsPerRun(200, swap); n != 0 {
			t.Errorf("%.1f allocations for two messages out of order", n)
		}
	})
	if l := r.s.tracks[1]; l.leg.Stats().Received != 2*202-1 || l.dropped != 1 {
		t.Errorf("received %d, dropped %d", l.leg.Stats().Received, l.dropped)
	}
}

var swapped = strings.Repeat("MTEx", 53) + "MQ=="

// T17: the fast way. One message is 20 ms of one track, so that messages a
// second divided by 50 are the tracks that one core decodes, resamples and cuts
// into frames.
func BenchmarkMedia(b *testing.B) {
	_, next := running(b, "inbound")
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// The parts: the scanner, and encoding/json in its place.
func BenchmarkScan(b *testing.B) {
	message := []byte(chunkOf("inbound", 100000, 2000000, 0x31))
	b.Run("scanner", func(b *testing.B) {
		b.ReportAllocs()
		var c chunk
		for b.Loop() {
			if !c.scan(message) {
				b.Fatal("not taken")
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := asParsed(message); !ok {
				b.Fatal("not taken")
			}
		}
	})
}

var _ media.Host = (*host)(nil)
