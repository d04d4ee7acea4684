package twilio

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
)

// arrival is a chunk: its number, its timestamp in ms, and how long after the
// one before it comes.
type arrival struct {
	n     int
	ms    int64
	after int
}

// values is what was heard of chunks whose samples say which one they are: one
// value for each 20 ms of the leg, 0 for silence and -1 for a jump of the clock.
func values(t *testing.T, arrivals []arrival, form string) (got []int, r *rig) {
	t.Helper()
	r = newRig(t, nil)
	r.must(`{"event":"start","stream_id":"s1","start":{"call_control_id":"v3:c","media_format":{"encoding":"L16","sample_rate":16000,"channels":1}}}`)
	for _, a := range arrivals {
		if err := r.wait(time.Duration(a.after) * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 640)
		for i := 0; i < len(b); i += 2 {
			b[i], b[i+1] = 0, byte(a.n%100)
		}
		m := mediaOf("inbound", a.n, a.ms, b)
		switch form {
		case "untimed":
			m = strings.Replace(m, fmt.Sprintf(`"timestamp":"%d",`, a.ms), "", 1)
		case "uncounted":
			m = strings.NewReplacer(fmt.Sprintf(`"chunk":"%d",`, a.n), "", fmt.Sprintf(`"sequenceNumber":"%d",`, a.n+1), "").Replace(m)
		}
		r.must(m)
	}
	if err := r.wait(200 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for _, f := range r.host.legs["inbound"].frames {
		if f.Start > at {
			got = append(got, -1)
		}
		at = f.End()
		got = append(got, int(f.Samples[160]>>8))
	}
	return got, r
}

func TestOrder(t *testing.T) {
	long := func(n int) (out []arrival) { // n chunks in order
		for i := range n {
			out = append(out, arrival{i + 1, 20 * int64(i), 20})
		}
		return out
	}
	for _, c := range []struct {
		name     string
		arrivals []arrival
		want     []int
		dropped  uint64
		form     string
	}{
		{"in order", long(4), []int{1, 2, 3, 4}, 0, ""},
		{"overtaken", []arrival{{1, 0, 20}, {3, 40, 20}, {2, 20, 5}, {4, 60, 20}}, []int{1, 2, 3, 4}, 0, ""},
		{"overtaken, uncounted", []arrival{{1, 0, 20}, {3, 40, 20}, {2, 20, 5}, {4, 60, 20}}, []int{1, 2, 3, 4}, 0, "uncounted"},
		{"upside down", []arrival{{1, 0, 20}, {5, 80, 20}, {4, 60, 1}, {3, 40, 1}, {2, 20, 1}, {6, 100, 20}}, []int{1, 2, 3, 4, 5, 6}, 0, ""},
		{"twice", []arrival{{1, 0, 20}, {1, 0, 1}, {2, 20, 20}, {2, 20, 20}, {3, 40, 20}}, []int{1, 2, 3}, 2, ""},
		{"twice, uncounted", []arrival{{1, 0, 20}, {1, 0, 1}, {2, 20, 20}, {3, 40, 20}}, []int{1, 2, 3}, 1, "uncounted"},
		{"twice while waiting", []arrival{{1, 0, 20}, {3, 40, 20}, {3, 40, 1}, {2, 20, 20}}, []int{1, 2, 3}, 1, ""},
		{"lost", []arrival{{1, 0, 20}, {3, 40, 20}, {4, 60, 20}}, []int{1, 0, 3, 4}, 0, ""},
		{"too late", []arrival{{1, 0, 20}, {3, 40, 20}, {4, 60, 120}, {2, 20, 20}, {5, 80, 20}}, []int{1, 0, 3, 4, 5}, 1, ""},
		// Nine wait where eight can.
		{"many", []arrival{{1, 0, 20}, {3, 40, 2}, {4, 60, 2}, {5, 80, 2}, {6, 100, 2}, {7, 120, 2}, {8, 140, 2}, {9, 160, 2}, {10, 180, 2}, {11, 200, 2}, {12, 220, 2}},
			[]int{1, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 0, ""},
		// The count says that nothing is missing, so nothing waits and small
		// differences are the stamping's.
		{"a pause", []arrival{{1, 0, 20}, {2, 140, 140}, {3, 160, 20}}, []int{1, 0, 0, 0, 0, 0, 0, 2, 3}, 0, ""},
		{"stamped by the time of sending", []arrival{{1, 0, 20}, {2, 35, 20}, {3, 30, 20}, {4, 72, 20}, {5, 80, 20}}, []int{1, 2, 3, 4, 5}, 0, ""},
		{"no timestamps", []arrival{{1, 0, 20}, {2, 0, 20}, {3, 0, 20}}, []int{1, 2, 3}, 0, "untimed"},
		{"no timestamps, a pause", []arrival{{1, 0, 20}, {2, 0, 1000}, {3, 0, 1000}}, slices.Concat([]int{1}, make([]int, 49), []int{2}, make([]int, 49), []int{3}), 0, "untimed"},
		{"the first is not at 0", []arrival{{1, 60, 80}, {2, 80, 20}}, []int{0, 0, 0, 1, 2}, 0, ""},
		{"the time of day", []arrival{{1, 1760000000000, 20}, {2, 1760000000020, 20}}, []int{0, 1, 2}, 0, ""},
		{"a clock that leaps", []arrival{{1, 0, 20}, {2, 20, 20}, {3, 90000000, 20}, {4, 90000020, 20}}, []int{1, 2, 3, 4}, 0, ""},
		{"a clock set back", []arrival{{1, 5000, 5020}, {2, 5020, 20}, {3, 0, 20}, {4, 20, 20}}, append(append(slices.Repeat([]int{0}, 100), -1), 1, 2, 3, 4), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := values(t, c.arrivals, c.form)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if d := r.s.tracks[0].dropped; d != c.dropped {
				t.Errorf("%d dropped, want %d", d, c.dropped)
			}
		})
	}
}

// Whatever arrives up to 80 ms late, and some of it twice, comes out once and in
// order.
func TestRandomOrder(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		const n = 99
		times := map[int][]int{} // of arrival, in ms, to numbers
		want, twice := []int{1}, 0
		for i := 2; i <= n; i++ {
			want = append(want, i)
			at := 20*i + rnd.IntN(81)
			times[at] = append(times[at], i)
			if rnd.IntN(10) == 0 {
				at += 1 + rnd.IntN(60)
				times[at] = append(times[at], i)
				twice++
			}
		}
		arrivals := []arrival{{1, 0, 20}}
		last := 20
		for at := range 20*n + 200 {
			for _, i := range times[at] {
				arrivals = append(arrivals, arrival{i, 20 * int64(i-1), at - last})
				last = at
			}
		}
		got, r := values(t, arrivals, "")
		if !slices.Equal(got, want) || r.s.tracks[0].dropped != uint64(twice) {
			t.Fatalf("seed %d: %d dropped, want %d; got %v", seed, r.s.tracks[0].dropped, twice, got)
		}
	}
}

// A stream that ends while chunks wait still hands them on.
func TestWaitingAtTheEnd(t *testing.T) {
	r := newRig(t, nil)
	r.must(startOne, chunkOf("inbound", 1, 0, ulawLoud), chunkOf("inbound", 3, 40, ulawLoud), stop)
	if n := len(r.host.legs["inbound"].frames); n != 3 {
		t.Errorf("%d frames, want 3", n)
	}
}

// Half a sample at the end of a binary message goes with the next one.
func TestOddMessages(t *testing.T) {
	r := newRig(t, nil)
	r.must(`{"event":"websocket:connected","content-type":"audio/l16;rate=8000"}`)
	tone := sine(8000, 1600)
	var b []byte
	for _, x := range tone {
		b = append(b, byte(x), byte(x>>8))
	}
	for i := 1; len(b) > 0; i += 2 {
		n := min(i, len(b))
		if err := r.s.Binary(b[:n], r.now); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	odd := r.host.legs[audio].samples(t)
	r = newRig(t, nil)
	r.must(`{"event":"websocket:connected","content-type":"audio/l16;rate=8000"}`)
	for _, x := range tone {
		b = append(b, byte(x), byte(x>>8))
	}
	if err := r.s.Binary(b, r.now); err != nil {
		t.Fatal(err)
	}
	if whole := r.host.legs[audio].samples(t); !slices.Equal(odd, whole) || len(whole) != 10*pcm.FrameSamples {
		t.Errorf("%d samples in odd pieces, %d at once, or others", len(odd), len(whole))
	}
}

func TestParameters(t *testing.T) {
	for _, c := range []struct {
		v    any
		want map[string]string
	}{
		{map[string]any{"a": "1", "b": true, "c": map[string]any{}, "d": ""}, map[string]string{"a": "1", "b": "true"}},
		{[]any{map[string]any{"name": "a", "value": "1"}, "x"}, map[string]string{"a": "1"}},
		{"a=1;b = 2 ,X-PH-c=3,d", map[string]string{"a": "1", "b": "2", "c": "3"}},
		{`{"a":"1"}`, map[string]string{"a": "1"}},
		{`{a=1, b=2}`, map[string]string{"a": "1", "b": "2"}},
		{map[string]any{"a": strings.Repeat("x", maxValue+1), strings.Repeat("k", maxKey+1): "1"}, map[string]string{}},
		{nil, map[string]string{}},
	} {
		s := start{params: map[string]string{}}
		s.paramsOf(c.v)
		if fmt.Sprint(s.params) != fmt.Sprint(c.want) {
			t.Errorf("%v: got %v, want %v", c.v, s.params, c.want)
		}
	}
	s := start{params: map[string]string{}}
	for i := range 1000 {
		s.param(fmt.Sprint(i), "x")
	}
	if len(s.params) != maxParams {
		t.Errorf("%d parameters are kept, want %d", len(s.params), maxParams)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		d                        dialect
		encoding, rate, channels string
		want                     string
		hz                       int
	}{
		{twilio, "audio/x-mulaw", "8000", "1", "PCMU", 8000},
		{twilio, "", "", "", "PCMU", 8000},
		{exotel, "audio/x-raw", "8000", "", "L16/8000", 8000},
		{exotel, "base64", "16000", "", "L16/16000", 16000},
		{exotel, "audio/x-mulaw;rate=8000", "", "", "PCMU", 8000},
		{signalwire, "L16@16000h@20i", "", "", "L16/16000", 16000},
		{plivo, "audio/x-l16;rate=16000", "", "", "L16/16000", 16000},
		{vonage, "audio/l16; rate=24000", "", "", "L16/24000", 24000},
		{vonage, "", "", "", "L16/8000", 8000},
		{telnyx, "OPUS", "16000", "2", "opus", 16000},
		{telnyx, "G722", "8000", "1", "G722", 16000},
		{bandwidth, "audio/PCMU", "", "", "PCMU", 8000},
		{telnyx, "AMR-WB", "16000", "1", "", 0},
		{telnyx, "PCMU", "16000", "1", "", 0},
		{telnyx, "L16", "7000", "1", "", 0},
		{telnyx, "L16", "eight", "1", "", 0},
		{telnyx, "L16", "16000", "2", "", 0},
	} {
		s := start{dialect: c.d}
		err := s.setFormat(c.encoding, c.rate, c.channels)
		if (err != nil) != (c.want == "") || err == nil && (s.codec != c.want || s.rate != c.hz) {
			t.Errorf("%s, %s, %s: got %s at %d Hz, %v; want %s at %d", c.encoding, c.rate, c.channels, s.codec, s.rate, err, c.want, c.hz)
		}
	}
}
